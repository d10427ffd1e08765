import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CommandResult, runCommand, tryCommand } from "../run-command.ts";
import { ensureDebs } from "./debs.ts";
import { cacheFolder } from "./folders.ts";

/** buildah with settings and storage of its own below .cache; throws CommandError unless a command ends with 0. */
export interface Buildah {
  run(args: readonly string[]): Promise<CommandResult>;
  /** Whether the storage has an image of that name. */
  has(image: string): Promise<boolean>;
}

/** buildah from Debian, installed when missing, set up for a machine with cgroup v1 and without CAP_SYS_RESOURCE. */
export async function ensureBuildah(): Promise<Buildah> {
  await ensureDebs(["buildah", "runc"]);
  const folder = cacheFolder("buildah");
  const containers = join(folder, "containers.conf");
  const storage = join(folder, "storage.conf");
  writeFileSync(
    containers,
    `[engine]
# crun refuses cgroup v1.
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
# The defaults are above what a process without CAP_SYS_RESOURCE may ask for.
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
`,
  );
  writeFileSync(
    storage,
    `[storage]
driver = "overlay"
graphroot = "${join(folder, "root")}"
runroot = "${join(folder, "run")}"
`,
  );
  const env = { CONTAINERS_CONF: containers, CONTAINERS_STORAGE_CONF: storage };
  return {
    run: (args) => runCommand(["buildah", ...args], { env }),
    has: async (image) => (await tryCommand(["buildah", "inspect", "--type", "image", image], { env })).code === 0,
  };
}
