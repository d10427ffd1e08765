import { isIPv6 } from "node:net";
import { z } from "zod";
import type { Clock } from "#runtime/clock.ts";
import { KubeCallError } from "#runtime/kube/errors.ts";
import { ENDPOINT_SLICES } from "#runtime/kube/resources.ts";
import type { KubeClient } from "#runtime/kube/types.ts";
import type { Logger } from "#runtime/log.ts";
import { canonicalJson } from "./canonical.ts";
import type { ClusterFacts } from "./desired/input.ts";

/** Keys of the issuer rotate rarely and overlap; addresses of the API server move with its nodes. */
const REFRESH_MS = 60_000;
const RETRY_MS = 5_000;

const discoverySchema = z.object({ issuer: z.string().min(1) });
const jwksSchema = z.object({ keys: z.array(z.record(z.string(), z.unknown())).min(1).max(16) });
const sliceSchema = z.object({
  endpoints: z.array(z.object({ addresses: z.array(z.string()) })).nullish(),
  ports: z.array(z.object({ port: z.int().nullish() })).nullish(),
});

export interface ClusterFactsReader {
  /** Nothing before the first good read. */
  current(): ClusterFacts | undefined;
  /** Why the newest read failed. */
  problem(): string | undefined;
  start(): void;
  stop(): Promise<void>;
}

/** Reads issuer, keys and addresses of the API server, again and again; `onChange` when they differ. */
export function createClusterFacts(options: {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onChange: () => void;
}): ClusterFactsReader {
  const stopping = new AbortController();
  let facts: ClusterFacts | undefined;
  let problem: string | undefined = "The API server has not been read yet";
  let running: Promise<void> | undefined;

  const refresh = async (): Promise<void> => {
    try {
      const next = await readClusterFacts(options.client, stopping.signal);
      problem = undefined;
      if (canonicalJson(next) === canonicalJson(facts)) return;
      facts = next;
      options.onChange();
    } catch (err) {
      problem = err instanceof Error ? err.message : String(err);
      if (!stopping.signal.aborted) options.log.warn({ err }, "Failed to read facts of the API server");
    }
  };
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await refresh();
      await options.clock.sleep(problem === undefined ? REFRESH_MS : RETRY_MS, stopping.signal).catch(() => undefined);
    }
  };
  return {
    current: () => facts,
    problem: () => problem,
    start() {
      running ??= run();
    },
    async stop() {
      stopping.abort(new Error("Stopped"));
      await running;
    },
  };
}

async function readClusterFacts(client: KubeClient, signal: AbortSignal): Promise<ClusterFacts> {
  const [discovery, jwks, slices] = await Promise.all([
    client.read("/.well-known/openid-configuration", { signal }),
    client.read("/openid/v1/jwks", { signal }),
    client.list(
      ENDPOINT_SLICES,
      { namespace: "default", labelSelector: "kubernetes.io/service-name=kubernetes" },
      { signal },
    ),
  ]);
  if (!discovery.ok) throw new KubeCallError("read the issuer", discovery.error);
  if (!jwks.ok) throw new KubeCallError("read the issuer's keys", jwks.error);
  if (!slices.ok) throw new KubeCallError("read the addresses of the API server", slices.error);
  const apiServers = slices.value.items.flatMap((item) => toAddresses(item));
  if (apiServers.length === 0)
    throw new Error("Cannot read the addresses of the API server as EndpointSlices of default/kubernetes hold none");
  const { keys } = jwksSchema.parse(jwks.value);
  return {
    issuer: discoverySchema.parse(discovery.value).issuer,
    // Sorted: the order of an answer must not look like a change.
    jwks: { keys: sortBy(keys, (key) => canonicalJson(key)) },
    apiServers: sortBy(apiServers, (server) => `${server.cidr}:${server.port}`),
  };
}

function toAddresses(slice: unknown): { cidr: string; port: number }[] {
  const parsed = sliceSchema.safeParse(slice);
  if (!parsed.success) return [];
  const ports = (parsed.data.ports ?? []).flatMap(({ port }) => (port === null || port === undefined ? [] : [port]));
  const addresses = (parsed.data.endpoints ?? []).flatMap((endpoint) => endpoint.addresses);
  return addresses.flatMap((address) =>
    ports.map((port) => ({ cidr: `${address}/${isIPv6(address) ? 128 : 32}`, port })),
  );
}

function sortBy<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return [...items].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}
