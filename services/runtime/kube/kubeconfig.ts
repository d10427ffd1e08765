import { readFileSync } from "node:fs";
import type { RequestOptions } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";
import type { KubeClientOptions } from "./transport.ts";

/**
 * How a kubeconfig file's current context reaches its API server. For development and tests alone: @kubernetes/client-node
 * takes 95 MB of memory at import. Throws when the file cannot be used. Plugins (exec, OIDC) are asked once, at start.
 */
export async function kubeconfigOptions(file: string): Promise<KubeClientOptionsOfFile> {
  const config = new KubeConfig();
  config.loadFromString(readFileSync(file, "utf8"));
  const cluster = config.getCurrentCluster();
  if (!cluster) throw new Error(`Cannot use ${file} as its current context must name a cluster`);
  const tls: TlsOptions = { headers: {} };
  await config.applyToHTTPSOptions(tls);
  const authorization = String(tls.headers["Authorization"] ?? tls.headers["authorization"] ?? "");
  const token = authorization.startsWith("Bearer ") ? authorization.slice("Bearer ".length) : undefined;
  return {
    server: cluster.server,
    ca: textOf(tls.ca),
    cert: textOf(tls.cert),
    key: textOf(tls.key),
    ...(token === undefined ? {} : { token: () => token }),
  };
}

type KubeClientOptionsOfFile = Pick<KubeClientOptions, "server" | "ca" | "cert" | "key" | "token">;

interface TlsOptions {
  headers: Record<string, string | string[] | undefined>;
  ca?: RequestOptions["ca"];
  cert?: RequestOptions["cert"];
  key?: RequestOptions["key"];
}

function textOf(value: unknown): string | undefined {
  if (Buffer.isBuffer(value)) return value.toString("utf8");
  return typeof value === "string" ? value : undefined;
}
