import { join, resolve } from "node:path";
import { runCommand, tryCommand } from "../../../scripts/run-command.ts";
import { cacheFolder } from "../../../scripts/tools/folders.ts";
import { ensureKubectl } from "../../../scripts/tools/helm-and-kubectl.ts";
import { announced } from "../../../scripts/tools/progress.ts";
import { hasImage, importImage } from "./containerd.ts";
import { kubeconfigPath } from "./layout.ts";
import { clusterStatus, startCluster, stopCluster } from "./single-node.ts";

const KIND_NAME = "supercargo";

/** A cluster to install into, wherever it comes from. */
export interface Cluster {
  readonly kind: "given" | "kind" | "local";
  readonly kubeconfig: string;
  /** Whether its nodes have that image already; false where that cannot be asked. */
  hasImage(reference: string): Promise<boolean>;
  /** Makes the image of a docker-archive tar known to the cluster's nodes. */
  loadImage(archive: string): Promise<void>;
}

/** The local one-node Kubernetes by itself, whatever KUBECONFIG says. */
export const localCluster = { up: startCluster, down: stopCluster, status: clusterStatus } as const;

/**
 * The cluster to work with: that of KUBECONFIG when it is set, else one of kind where Docker and kind are present, else
 * the local one-node Kubernetes, which is started when it does not run.
 */
export async function openCluster(): Promise<Cluster> {
  const given = process.env.KUBECONFIG;
  // The path that `up` prints: still ours to start.
  if (given !== undefined && given !== "" && resolve(given) !== kubeconfigPath()) return openGiven(given);
  if (await hasKind()) return openKind();
  return { kind: "local", kubeconfig: await startCluster(), hasImage, loadImage: importImage };
}

async function openGiven(kubeconfig: string): Promise<Cluster> {
  const context = await runCommand([await ensureKubectl(), "config", "current-context"], {
    env: { KUBECONFIG: kubeconfig },
  });
  const kindName = /^kind-(.+)$/.exec(context.stdout.trim())?.[1];
  const refuse = (): Promise<void> =>
    Promise.reject(
      new Error(
        `Cannot load an image into the cluster of KUBECONFIG=${kubeconfig}: only kind and the local cluster take one`,
      ),
    );
  return {
    kind: "given",
    kubeconfig,
    hasImage: unknownImage,
    loadImage: kindName === undefined ? refuse : (archive) => loadIntoKind(archive, kindName),
  };
}

/** kind with a Docker that answers. Not exercised on the build machine, which has neither. */
async function hasKind(): Promise<boolean> {
  const answers = await Promise.all(
    [
      ["kind", "version"],
      ["docker", "info"],
    ].map((command) =>
      tryCommand(command).then(
        (result) => result.code === 0,
        () => false,
      ),
    ),
  );
  return answers.every(Boolean);
}

/** Not exercised on the build machine. kind enforces NetworkPolicy from 0.24 on and has a default StorageClass. */
async function openKind(): Promise<Cluster> {
  const kubeconfig = join(cacheFolder("cluster"), "kind-kubeconfig");
  const clusters = await runCommand(["kind", "get", "clusters"]);
  const command = clusters.stdout.split("\n").includes(KIND_NAME)
    ? ["kind", "export", "kubeconfig"]
    : ["kind", "create", "cluster", "--wait", "120s"];
  await announced("kind cluster supercargo", () =>
    runCommand([...command, "--name", KIND_NAME, "--kubeconfig", kubeconfig]),
  );
  return { kind: "kind", kubeconfig, hasImage: unknownImage, loadImage: (archive) => loadIntoKind(archive, KIND_NAME) };
}

/** kind itself skips what its nodes have. */
function unknownImage(): Promise<boolean> {
  return Promise.resolve(false);
}

async function loadIntoKind(archive: string, name: string): Promise<void> {
  await runCommand(["kind", "load", "image-archive", archive, "--name", name]);
}
