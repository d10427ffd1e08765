import { podUsageSchema, type PodUsage, type PodUsageSpec, type PodUsageStatus } from "#core/api/pod-usage.ts";
import type { Clock } from "#runtime/clock.ts";
import type {
  KubeClient,
  KubeError,
  KubeObject,
  KubeResult,
  WatchEnd,
  WatchEvent,
  WatchHandlers,
  WatchQuery,
} from "#runtime/kube/types.ts";

/** An API server that holds one PodUsage, with resource versions, watches and the CRD's rules on totals. */
export interface PodUsageServer {
  readonly client: Pick<KubeClient, "get" | "updateStatus" | "watch">;
  /** The object as it is stored now. */
  stored(): PodUsage | undefined;
  create(spec: PodUsageSpec): void;
  /** Another writer: the operator or the reporter. */
  setSpec(change: Partial<PodUsageSpec>): void;
  remove(): void;
  /** Puts an earlier object back, versions and all: a restored etcd. */
  restore(object: KubeObject): void;
  /** Answers that come instead of the real ones, oldest first, to any call but a watch. */
  readonly faults: KubeError[];
  /** While set every call fails with it, and every watch. */
  outage: KubeError | undefined;
  /** Ends watches at once as a proxy may: "Closed", or refuses them. */
  watchEnd: WatchEnd | undefined;
  readonly calls: { get: number; put: number; watch: number };
}

const NAME = "pod-uid";

/** A server without an object. Its clock is the given one, in whole seconds. */
export function createPodUsageServer(clock: Clock): PodUsageServer {
  let object: KubeObject | undefined;
  let version = 100;
  let lives = 0;
  const watches = createWatches(clock);
  const dateMs = (): number => Math.floor(clock.now() / 1000) * 1000;
  const store = (next: KubeObject, type: "ADDED" | "MODIFIED"): KubeObject => {
    version += 1;
    object = { ...next, metadata: { ...next.metadata, resourceVersion: String(version) } };
    watches.tell({ type, object });
    return object;
  };
  const fault = (): KubeError | undefined => server.outage ?? server.faults.shift();
  const answer = (value: KubeObject): KubeResult<KubeObject> => ({
    ok: true,
    value: structuredClone(value),
    dateMs: dateMs(),
  });
  const server: PodUsageServer = {
    faults: [],
    outage: undefined,
    watchEnd: undefined,
    calls: { get: 0, put: 0, watch: 0 },
    stored: () => (object ? podUsageSchema.parse(object) : undefined),
    create(spec) {
      lives += 1;
      const metadata = { name: NAME, namespace: "agents", uid: `life-${lives}` };
      store({ apiVersion: "supercargo.dev/v1alpha1", kind: "PodUsage", metadata, spec }, "ADDED");
    },
    setSpec(change) {
      const current = server.stored();
      if (object && current) store({ ...object, spec: { ...current.spec, ...change } }, "MODIFIED");
    },
    remove() {
      if (object) watches.tell({ type: "DELETED", object });
      object = undefined;
    },
    restore(earlier) {
      object = structuredClone(earlier);
      version = Number(earlier.metadata.resourceVersion);
      watches.cut();
    },
    client: {
      async get() {
        server.calls.get += 1;
        const error = fault() ?? (object ? undefined : notFound());
        return error || !object ? { ok: false, error: error ?? notFound() } : answer(object);
      },
      async updateStatus(_ref, written) {
        server.calls.put += 1;
        const error = fault() ?? refusal(object, written);
        if (error || !object) return { ok: false, error: error ?? notFound() };
        return answer(store({ ...object, status: structuredClone(written["status"]) }, "MODIFIED"));
      },
      watch(_ref, query, handlers) {
        server.calls.watch += 1;
        if (server.outage) return Promise.resolve({ kind: "Failed", error: server.outage });
        return server.watchEnd ? Promise.resolve(server.watchEnd) : watches.follow(query, handlers);
      },
    },
  };
  return server;
}

interface Watches {
  tell(event: WatchEvent): void;
  /** Ends them all. */
  cut(): void;
  follow(query: WatchQuery, handlers: WatchHandlers): Promise<WatchEnd>;
}

function createWatches(clock: Clock): Watches {
  const open = new Map<() => void, WatchHandlers>();
  return {
    tell(event) {
      for (const handlers of open.values()) handlers.onEvent(event);
    },
    cut() {
      for (const end of open.keys()) end();
    },
    follow: (query, handlers) =>
      new Promise((resolve) => {
        const end = (): void => {
          open.delete(end);
          resolve({ kind: "Closed" });
        };
        open.set(end, handlers);
        handlers.signal.addEventListener("abort", end);
        clock.after(query.timeoutSeconds * 1000, end);
      }),
  };
}

function notFound(): KubeError {
  return { kind: "NotFound", status: 404, message: "not found" };
}

/** Compare-and-swap, then the CRD's transition rules. */
function refusal(object: KubeObject | undefined, written: KubeObject): KubeError | undefined {
  if (!object) return notFound();
  if (object.metadata.resourceVersion !== written.metadata.resourceVersion)
    return { kind: "Conflict", status: 409, message: "the object has been modified" };
  const next = podUsageSchema.safeParse(written);
  if (!next.success || !next.data.status) return { kind: "Invalid", status: 422, message: "schema" };
  const before = podUsageSchema.parse(object).status;
  const fault = before ? transitionFault(before, next.data.status) : undefined;
  return fault === undefined ? undefined : { kind: "Invalid", status: 422, message: fault };
}

/** The rules of charts/supercargo/templates/crds/podusages.yaml: neither sequence nor a total may fall, no dimension vanishes. */
export function transitionFault(before: PodUsageStatus, next: PodUsageStatus): string | undefined {
  if (BigInt(next.sequence) < BigInt(before.sequence)) return "sequence may not fall";
  const totals = new Map(next.totals.map(({ dimension, total }) => [dimension, BigInt(total)]));
  const fallen = before.totals.find(({ dimension, total }) => (totals.get(dimension) ?? -1n) < BigInt(total));
  return fallen === undefined ? undefined : `total of ${fallen.dimension} may not fall`;
}
