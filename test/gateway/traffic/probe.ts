/**
 * Loaded into a gateway by `--import`: at each SIGUSR2 it prints what keeps the process busy, by kind. Nobody outside of a process can
 * see its timers.
 */
process.on("SIGUSR2", () => {
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  process.stdout.write(`${JSON.stringify({ probe: true, resources })}\n`);
});
