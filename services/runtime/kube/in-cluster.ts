import { readFileSync } from "node:fs";
import { join } from "node:path";
import { POD_PATHS } from "#core/pod-paths.ts";
import type { Clock } from "../clock.ts";
import type { KubeClientOptions } from "./transport.ts";

/** The CA changes once in years; looking once a minute is enough. */
const CA_REREAD_MS = 60_000;

/**
 * How a pod reaches its API server: the mounted token (read again for each call, the kubelet renews it), the mounted CA,
 * and the address that every pod gets in its environment. Throws with one sentence when this is no pod.
 */
export function inClusterOptions(
  env: Readonly<Record<string, string | undefined>>,
  clock: Clock,
  folder: string = POD_PATHS.kubernetes,
): Pick<KubeClientOptions, "server" | "ca" | "token"> {
  const host = env["KUBERNETES_SERVICE_HOST"];
  if (host === undefined || host === "")
    throw new Error("Cannot find the API server as KUBERNETES_SERVICE_HOST must be set: current value is empty");
  const port = env["KUBERNETES_SERVICE_PORT"] ?? "443";
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: createCaReader(join(folder, "ca.crt"), clock),
    token: () => readFileSync(join(folder, "token"), "utf8").trim(),
  };
}

function createCaReader(file: string, clock: Clock): () => string {
  let ca = readFileSync(file, "utf8");
  let readMs = clock.monotonic();
  return () => {
    if (clock.monotonic() - readMs > CA_REREAD_MS) {
      ca = readFileSync(file, "utf8");
      readMs = clock.monotonic();
    }
    return ca;
  };
}
