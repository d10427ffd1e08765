import { readdirSync, readFileSync } from "node:fs";

type Bundle = "gateway" | "orchestrator" | "sidecar" | "reporter" | "operator";

/**
 * Kills every process of the local cluster that runs that bundle, as kill -9 or an OOM would. Its containers are plain
 * processes of this machine. Returns how many were killed.
 */
export function killBundle(bundle: Bundle): number {
  const victims = processesOf(bundle);
  for (const pid of victims) signal(pid, "SIGKILL");
  return victims.length;
}

/** Process ids of that bundle in pods; `pod` names one, for a bundle that reads its pod's name from the environment. */
export function processesOf(bundle: Bundle, pod?: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => read(pid, "cmdline").includes(`/app/${bundle}.js`) && read(pid, "cgroup").includes("kubepods"))
    .filter((pid) => pod === undefined || read(pid, "environ").split("\0").includes(`SUPERCARGO_POD_NAME=${pod}`))
    .map(Number);
}

/** Sends a signal; a process that has ended meanwhile is none of our business. */
export function signal(pid: number, name: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended while we looked.
  }
}

function read(pid: string, file: "cmdline" | "cgroup" | "environ"): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    // The process ended while we looked.
    return "";
  }
}
