import { readdirSync, readFileSync } from "node:fs";

/**
 * Kills every process of the machine whose command line runs that bundle, as kill -9 or an OOM would. Containers of the
 * local cluster are plain processes of this machine. Returns how many were killed.
 */
export function killBundle(bundle: "gateway" | "orchestrator" | "sidecar" | "reporter" | "operator"): number {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const victims = pids.filter((pid) => commandOf(pid).includes(`/app/${bundle}.js`));
  for (const pid of victims) process.kill(Number(pid), "SIGKILL");
  return victims.length;
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    // The process ended while we looked.
    return "";
  }
}
