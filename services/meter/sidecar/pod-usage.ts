import { podUsageSchema, type PodUsage, type PodUsageStatus } from "#core/api/pod-usage.ts";
import type { Clock } from "#runtime/clock.ts";
import { POD_USAGES } from "#runtime/kube/resources.ts";
import type { KubeClient, KubeError, KubeObject, KubeResult } from "#runtime/kube/types.ts";
import type { Logger } from "#runtime/log.ts";

/** Waiting: not created yet. Settled: it was there and is gone; keep counting, look again. */
export type Phase = "Unknown" | "Waiting" | "Present" | "Settled";

export interface OwnPodUsage {
  phase(): Phase;
  current(): PodUsage | undefined;
  /** Follows the object until stopped. Never rejects. */
  start(): void;
  stop(): Promise<void>;
  /** Writes the status of the version that was read last; once more after a conflict. */
  publish(status: PodUsageStatus, options: PublishOptions): Promise<PublishResult>;
}

export interface PublishOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export type PublishResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly problem: string; readonly phase: Phase };

export interface OwnPodUsageOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly namespace: string;
  /** The pod's UID is the object's name. */
  readonly uid: string;
  readonly onDate: (dateMs: number | undefined) => void;
  /** The object came, changed or went. */
  readonly onChange: () => void;
  readonly log: Pick<Logger, "info" | "warn" | "debug">;
}

/** Without a watch the object is read this often. */
const READ_MS = 15_000;
/** Before the operator has created it. */
const WAITING_MS = 2_000;
const SETTLED_MS = 60_000;
const WATCH_SECONDS = 240;
const READ_TIMEOUT_MS = 10_000;

interface Follower {
  readonly options: OwnPodUsageOptions;
  readonly stopping: AbortController;
  object: KubeObject | undefined;
  parsed: PodUsage | undefined;
  phase: Phase;
}

/** The pod's own PodUsage: a watch on one object by its name, or a read every 15 s where the watch is refused. */
export function followPodUsage(options: OwnPodUsageOptions): OwnPodUsage {
  const follower: Follower = {
    options,
    stopping: new AbortController(),
    object: undefined,
    parsed: undefined,
    phase: "Unknown",
  };
  let running: Promise<void> | undefined;
  return {
    phase: () => follower.phase,
    current: () => follower.parsed,
    start() {
      running ??= run(follower);
    },
    async stop() {
      follower.stopping.abort(new Error("Stopped"));
      await running;
    },
    publish: (status, call) => publish(follower, status, call),
  };
}

async function run(follower: Follower): Promise<void> {
  const { signal } = follower.stopping;
  while (!signal.aborted) {
    const delayMs = await followOnce(follower);
    if (delayMs > 0) await follower.options.clock.sleep(delayMs, signal).catch(() => undefined);
  }
}

/** Reads, then watches from there until the watch ends. Returns how long to wait before the next look. */
async function followOnce(follower: Follower): Promise<number> {
  const { options, stopping } = follower;
  const error = await read(follower, { timeoutMs: READ_TIMEOUT_MS, signal: stopping.signal });
  if (error?.kind === "NotFound") return follower.phase === "Settled" ? SETTLED_MS : WAITING_MS;
  const resourceVersion = follower.object?.metadata.resourceVersion;
  if (error || resourceVersion === undefined) return READ_MS / 5;
  const end = await options.client.watch(
    POD_USAGES,
    {
      namespace: options.namespace,
      fieldSelector: `metadata.name=${options.uid}`,
      resourceVersion,
      timeoutSeconds: WATCH_SECONDS,
    },
    {
      signal: stopping.signal,
      onEvent(event) {
        if (event.type === "DELETED") lose(follower);
        else if (event.type !== "BOOKMARK") take(follower, event.object);
      },
    },
  );
  if (end.kind !== "Failed") return 0;
  if (!stopping.signal.aborted) options.log.warn({ code: end.error.kind }, "Lost the watch of PodUsage");
  return end.error.kind === "Forbidden" ? READ_MS : READ_MS / 5;
}

async function read(follower: Follower, call: PublishOptions): Promise<KubeError | undefined> {
  const { client, namespace, uid, log } = follower.options;
  const result = await client.get(POD_USAGES, { namespace, name: uid }, { ...call, attemptsMax: 1 });
  note(follower, result);
  if (result.ok) {
    take(follower, result.value);
    return undefined;
  }
  if (result.error.kind === "NotFound") lose(follower);
  else log.warn({ code: result.error.kind, err: result.error.message }, "Failed to read PodUsage");
  return result.error;
}

async function publish(follower: Follower, status: PodUsageStatus, call: PublishOptions): Promise<PublishResult> {
  const first = await put(follower, status, call);
  if (first?.kind === "Conflict") {
    const error = await read(follower, call);
    const second = error ?? (await put(follower, status, call));
    return toResult(follower, second);
  }
  return toResult(follower, first);
}

async function put(follower: Follower, status: PodUsageStatus, call: PublishOptions): Promise<KubeError | undefined> {
  const { object } = follower;
  if (!object) return { kind: "NotFound", status: 404, message: "There is no PodUsage" };
  const result = await follower.options.client.updateStatus(
    POD_USAGES,
    { ...object, status },
    { ...call, attemptsMax: 1 },
  );
  note(follower, result);
  if (result.ok) {
    take(follower, result.value);
    return undefined;
  }
  if (result.error.kind === "NotFound") lose(follower);
  return result.error;
}

function toResult(follower: Follower, error: KubeError | undefined): PublishResult {
  if (!error) return { ok: true };
  return { ok: false, problem: `${error.kind}: ${error.message}`, phase: follower.phase };
}

function note(follower: Follower, result: KubeResult<unknown>): void {
  if (result.ok) follower.options.onDate(result.dateMs);
}

/** The newest version counts: an event of the watch may come after the answer to a later write. */
function take(follower: Follower, object: KubeObject): void {
  if (follower.phase === "Present" && isOlder(object, follower.object)) return;
  const parsed = podUsageSchema.safeParse(object);
  if (!parsed.success) {
    follower.options.log.warn({ err: parsed.error.issues[0]?.message }, "Failed to understand PodUsage");
    return;
  }
  follower.object = object;
  follower.parsed = parsed.data;
  follower.phase = "Present";
  follower.options.onChange();
}

function isOlder(object: KubeObject, than: KubeObject | undefined): boolean {
  const [a = "", b = ""] = [object.metadata.resourceVersion, than?.metadata.resourceVersion];
  const sameLife = object.metadata.uid === than?.metadata.uid;
  return sameLife && /^\d+$/.test(a) && /^\d+$/.test(b) && BigInt(a) < BigInt(b);
}

function lose(follower: Follower): void {
  const next = follower.phase === "Present" || follower.phase === "Settled" ? "Settled" : "Waiting";
  if (next === follower.phase) return;
  follower.object = undefined;
  follower.phase = next;
  follower.options.log.info({ phase: next }, "Found no PodUsage");
  follower.options.onChange();
}
