import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand, tryCommand } from "../../../scripts/run-command.ts";
import { waitFor } from "../../../scripts/demo/kubectl.ts";
import { FOLDERS, logFolder, NODE, SOCKET } from "./layout.ts";
import { startProcess } from "./processes.ts";
import { writePodNetwork } from "./network.ts";

export const PAUSE_IMAGE = "local/pause:1";

/** Starts a containerd of our own: its root, state and socket lie in the state folder. */
export async function startContainerd(): Promise<void> {
  mkdirSync(join(FOLDERS.config, "cni"), { recursive: true });
  const path = join(FOLDERS.config, "containerd.toml");
  writeFileSync(path, containerdConfig(writePodNetwork()));
  startProcess({
    name: "containerd",
    command: ["containerd", "--config", path],
    stateFolder: FOLDERS.state,
    logFolder: logFolder(),
    network: NODE.network,
  });
  const isUp = async (): Promise<true | undefined> =>
    existsSync(SOCKET) && (await ctr(["version"])).code === 0 ? true : undefined;
  await waitFor(isUp, { what: `containerd (see ${logFolder()}/containerd.log)`, timeoutSeconds: 20, everyMs: 100 });
}

/** Imports a docker-archive tar; its images are then known to pods by the names in it. */
export async function importImage(archive: string): Promise<void> {
  await runCommand(["ctr", "-a", SOCKET, "-n", "k8s.io", "images", "import", archive]);
}

/** Whether pods find an image of that name. */
export async function hasImage(reference: string): Promise<boolean> {
  const images = await runCommand([
    "ctr",
    "-a",
    SOCKET,
    "-n",
    "k8s.io",
    "images",
    "list",
    "--quiet",
    `name==${reference}`,
  ]);
  return images.stdout.trim() === reference;
}

function ctr(args: readonly string[]): ReturnType<typeof tryCommand> {
  return tryCommand(["ctr", "-a", SOCKET, "--connect-timeout", "2s", ...args]);
}

function containerdConfig(podNetwork: string): string {
  return `version = 2
root = "${join(FOLDERS.containerd, "root")}"
state = "${join(FOLDERS.containerd, "state")}"
[grpc]
  address = "${SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE runc ends with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  # Pods' network namespaces lie in the state folder and go away with it.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${podNetwork}"
`;
}
