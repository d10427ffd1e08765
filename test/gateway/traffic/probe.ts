/**
 * Loaded into a gateway by `--import`: at each SIGUSR2 it prints what keeps the process busy, by kind, and how many timers wait, those
 * too that would not keep it alive. Nobody outside of a process can see that.
 */
const timers = new Set<unknown>();
const { setTimeout: begin, clearTimeout: end } = globalThis;

function beginCounted(work: (...args: unknown[]) => void, waitMs?: number, ...args: unknown[]): NodeJS.Timeout {
  const timer = begin(() => {
    timers.delete(timer);
    work(...args);
  }, waitMs);
  timers.add(timer);
  return timer;
}

function endCounted(timer: NodeJS.Timeout | undefined): void {
  timers.delete(timer);
  end(timer);
}

Object.defineProperty(globalThis, "setTimeout", { value: Object.assign(beginCounted, begin), writable: true });
Object.defineProperty(globalThis, "clearTimeout", { value: endCounted, writable: true });

process.on("SIGUSR2", () => {
  const resources: Record<string, number> = { timers: timers.size };
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  process.stdout.write(`${JSON.stringify({ probe: true, resources })}\n`);
});
