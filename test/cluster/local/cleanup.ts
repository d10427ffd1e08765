import { existsSync, readdirSync, readFileSync, readlinkSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tryCommand } from "../../../scripts/run-command.ts";
import { FOLDERS, logFolder, NODE, SOCKET } from "./layout.ts";
import { removeNetwork } from "./network.ts";
import { isMarked, killAll } from "./processes.ts";

/**
 * Removes all traces of the cluster, in whatever state it was left. The one way to stop it: the cluster keeps nothing,
 * so an orderly end would only be a second way that could fail.
 */
export async function removeCluster(): Promise<void> {
  // Containers that start while their parents are being ended need another round.
  for (let round = 0; round < 5; round += 1) {
    const pids = clusterProcesses();
    if (pids.length === 0) break;
    await killAll(pids);
  }
  removeShimSockets();
  await unmountAll();
  await removeNetwork();
  removeCgroups();
  removeByPrefix("/var/lib/cni/results", `${NODE.network}-`);
  removeLogLinks();
  rmSync(FOLDERS.state, { recursive: true, force: true });
}

/** Parts by their mark, containerd's shims by the socket they were started for, containers by where their root lies. */
function clusterProcesses(): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 1 && pid !== process.pid && belongsToCluster(pid));
}

function belongsToCluster(pid: number): boolean {
  return isMarked(pid, FOLDERS.state) || readProc(pid, "cmdline").includes(SOCKET) || hasRootInCluster(pid);
}

function hasRootInCluster(pid: number): boolean {
  const root = readProc(pid, "mountinfo")
    .split("\n")
    .find((line) => line.split(" ")[4] === "/");
  return root?.includes(`=${FOLDERS.containerd}/`) === true;
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}

/** containerd keeps the sockets of its shims in one folder for the whole machine; each bundle names its own. */
function removeShimSockets(): void {
  const bundles = join(FOLDERS.containerd, "state/io.containerd.runtime.v2.task/k8s.io");
  if (!existsSync(bundles)) return;
  for (const bundle of readdirSync(bundles)) {
    const file = join(bundles, bundle, "address");
    if (!existsSync(file)) continue;
    const socket = readFileSync(file, "utf8").replace("unix://", "");
    if (socket.startsWith("/run/containerd/s/")) rmSync(socket, { force: true });
  }
}

async function unmountAll(): Promise<void> {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point.startsWith(`${FOLDERS.state}/`));
  // The deepest first: later mounts lie on earlier ones.
  if (points.length > 0) await tryCommand(["umount", "--lazy", ...points.reverse()]);
}

/** Cgroups of pods that are gone. One that still holds a process, so is not ours, refuses to be removed. */
function removeCgroups(): void {
  const hierarchies = readdirSync("/sys/fs/cgroup").map((name) => join("/sys/fs/cgroup", name));
  for (const hierarchy of ["/sys/fs/cgroup", ...hierarchies]) removeCgroup(join(hierarchy, "kubepods"));
}

function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return;
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory()) removeCgroup(join(folder, entry.name));
    rmdirSync(folder);
  } catch {
    // Busy: another cluster's, or the kernel is not done yet; an empty cgroup does no harm.
  }
}

function removeByPrefix(folder: string, prefix: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) if (name.startsWith(prefix)) rmSync(join(folder, name), { force: true });
}

/** The kubelet links every container's log in one folder for the whole machine. */
function removeLogLinks(): void {
  const links = "/var/log/containers";
  if (!existsSync(links)) return;
  for (const name of readdirSync(links)) {
    const link = join(links, name);
    if (readlinkSync(link).startsWith(logFolder())) rmSync(link, { force: true });
  }
}
