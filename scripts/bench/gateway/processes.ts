import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Clock ticks of /proc/PID/stat per second: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const START_SECONDS_MAX = 60;

/** The processes of a bench; none outlives it. */
export interface Processes {
  /**
   * Starts a program that listens on `port`, and waits until it does. What it logs goes through a pipe to a process that reads
   * it, as under a container runtime.
   */
  start(
    program: readonly string[],
    how: { readonly port: number; readonly env: Record<string, string>; readonly cwd?: string },
  ): Promise<number>;
  stop(): void;
}

export function createProcesses(): Processes {
  const children: ChildProcess[] = [];
  return {
    async start(program, { port, env, cwd }) {
      const options: SpawnOptions = {
        env: { PATH: process.env["PATH"], ...env },
        cwd,
        stdio: "ignore",
        detached: true,
      };
      const child = spawn("bash", ["-c", 'exec "$0" "$@" > >(exec cat > /dev/null) 2>&1', ...program], options);
      children.push(child);
      await untilListening(port, child);
      return child.pid ?? 0;
    },
    stop() {
      // Each leads a group of its own: workers and pipes end with it.
      for (const { pid } of children) if (pid !== undefined) killGroup(pid);
    },
  };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

async function untilListening(port: number, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < START_SECONDS_MAX * 10; tries += 1) {
    if (child.exitCode !== null) break;
    const answer = await fetch(`http://127.0.0.1:${port}/livez`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer !== undefined) return;
    await sleep(100);
  }
  throw new Error(
    `Cannot start ${child.spawnargs.slice(3).join(" ")} as port ${port} must answer within ${START_SECONDS_MAX} s`,
  );
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}

/** User and system time of a process and, if asked, of all that descend from it, in microseconds. */
export function cpuMicros(pid: number, withChildren: boolean): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  const own = ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1_000_000;
  return withChildren ? childrenOf(pid).reduce((sum, child) => sum + cpuMicros(child, true), own) : own;
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

export function rssMiB(pid: number, withChildren: boolean): number {
  const own = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
  const all = withChildren ? childrenOf(pid).reduce((sum, child) => sum + rssMiB(child, true), own) : own;
  return Math.round(all);
}
