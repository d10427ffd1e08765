import { podUsageSchema, type PodUsage, type PodUsageStatus } from "#core/api/pod-usage.ts";
import { checkpointSecondsOf } from "#core/counted.ts";
import type { Clock } from "#runtime/clock.ts";
import { POD_USAGES } from "#runtime/kube/resources.ts";
import type { KubeClient, KubeError, KubeObject, KubeResult } from "#runtime/kube/types.ts";
import type { Logger } from "#runtime/log.ts";
import { phaseOf } from "./publish-plan.ts";

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
  | {
      readonly ok: false;
      readonly problem: string;
      readonly phase: Phase;
      /** What the server asked for with 429 or 503. */
      readonly retryAfterMs: number | undefined;
    };

export interface OwnPodUsageOptions {
  readonly client: Pick<KubeClient, "get" | "updateStatus" | "watch">;
  readonly clock: Clock;
  readonly namespace: string;
  /** The pod's UID is the object's name. */
  readonly uid: string;
  /** An earlier life of this sidecar has published: then even the first 404 means settled. */
  readonly wasPresent: boolean;
  readonly onDate: (dateMs: number | undefined) => void;
  /** The object came, changed or went. */
  readonly onChange: () => void;
  readonly log: Pick<Logger, "info" | "warn" | "debug">;
}

/** Without a watch the object is read this often. */
const READ_MS = 15_000;
/** Before the operator has created it. */
const WAITING_MS = 2_000;
/** Settled: look again every K; this when K was never read. */
const SETTLED_MS = 60_000;
const WATCH_SECONDS = 240;
/** A watch that ends sooner counts as a failure, or we would spin. */
const SHORT_WATCH_MS = 5_000;
const READ_TIMEOUT_MS = 10_000;
/** After the first failure; doubled by each further one up to READ_MS. */
const RETRY_MIN_MS = 1_500;

interface Follower {
  readonly options: OwnPodUsageOptions;
  readonly stopping: AbortController;
  object: KubeObject | undefined;
  parsed: PodUsage | undefined;
  phase: Phase;
  failures: number;
}

/** The pod's own PodUsage: a watch on one object by its name, or a read every 15 s where the watch is refused. */
export function followPodUsage(options: OwnPodUsageOptions): OwnPodUsage {
  const follower: Follower = {
    options,
    stopping: new AbortController(),
    object: undefined,
    parsed: undefined,
    phase: "Unknown",
    failures: 0,
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
  const error = await read(follower, { timeoutMs: READ_TIMEOUT_MS, signal: follower.stopping.signal });
  if (error?.kind === "NotFound") return absentDelayMs(follower);
  const resourceVersion = follower.object?.metadata.resourceVersion;
  if (error || resourceVersion === undefined) return failedDelayMs(follower, error);
  return watchFrom(follower, resourceVersion);
}

async function watchFrom(follower: Follower, resourceVersion: string): Promise<number> {
  const { options, stopping } = follower;
  const startedMs = options.clock.monotonic();
  const end = await options.client.watch(
    POD_USAGES,
    {
      namespace: options.namespace,
      fieldSelector: `metadata.name=${options.uid}`,
      resourceVersion,
      // Not all pods of a rollout come back in the same second.
      timeoutSeconds: Math.round(WATCH_SECONDS * (0.75 + phaseOf(options.uid) / 4)),
    },
    {
      signal: stopping.signal,
      onEvent(event) {
        if (event.type === "DELETED") lose(follower);
        else if (event.type !== "BOOKMARK" && !isOlder(event.object, follower.object)) take(follower, event.object);
      },
    },
  );
  if (end.kind === "Failed" && !stopping.signal.aborted)
    options.log.warn({ code: end.error.kind }, "Lost the watch of PodUsage");
  if (end.kind === "Failed" && end.error.kind === "Forbidden") return READ_MS;
  const isFailure = end.kind === "Failed" || options.clock.monotonic() - startedMs < SHORT_WATCH_MS;
  if (isFailure) return failedDelayMs(follower, end.kind === "Failed" ? end.error : undefined);
  follower.failures = 0;
  return 0;
}

/** Not yet created: a service waits for its first grant. Settled: every K. */
function absentDelayMs({ phase, parsed }: Follower): number {
  if (phase !== "Settled") return WAITING_MS;
  return parsed ? checkpointSecondsOf(parsed.spec) * 1000 : SETTLED_MS;
}

/** Doubles up to the interval of plain reads, spread over pods: after an outage of the API server all come at once. */
function failedDelayMs(follower: Follower, error: KubeError | undefined): number {
  const delayMs = Math.min(RETRY_MIN_MS * 2 ** Math.min(follower.failures, 8), READ_MS);
  follower.failures += 1;
  return Math.max(delayMs * (0.5 + phaseOf(follower.options.uid) / 2), Math.min(error?.retryAfterMs ?? 0, READ_MS * 4));
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
  const { kind, message, retryAfterMs } = error;
  return { ok: false, problem: `${kind}: ${message}`, phase: follower.phase, retryAfterMs };
}

function note(follower: Follower, result: KubeResult<unknown>): void {
  if (result.ok) follower.options.onDate(result.dateMs);
}

function take(follower: Follower, object: KubeObject): void {
  const parsed = podUsageSchema.safeParse(object);
  if (!parsed.success) {
    follower.options.log.warn({ err: parsed.error.issues[0]?.message }, "Failed to understand PodUsage");
    return;
  }
  // The API server's list of who wrote which field would come back with every write, for nothing.
  const { managedFields: _, ...metadata } = object.metadata;
  follower.object = { ...object, metadata };
  follower.parsed = parsed.data;
  follower.phase = "Present";
  follower.options.onChange();
}

/**
 * An event of the watch may come after the answer to a later write. Answers to reads and writes are never judged so: a
 * restored etcd counts its versions from before.
 */
function isOlder(object: KubeObject, than: KubeObject | undefined): boolean {
  const [a = "", b = ""] = [object.metadata.resourceVersion, than?.metadata.resourceVersion];
  const sameLife = object.metadata.uid === than?.metadata.uid;
  return sameLife && /^\d+$/.test(a) && /^\d+$/.test(b) && BigInt(a) < BigInt(b);
}

/** 404 before the first successful read, ours or an earlier life's, means not yet; afterwards settled. */
function lose(follower: Follower): void {
  const wasPresent = follower.options.wasPresent || follower.phase === "Present" || follower.phase === "Settled";
  const next = wasPresent ? "Settled" : "Waiting";
  if (next === follower.phase) return;
  follower.object = undefined;
  follower.phase = next;
  follower.options.log.info({ phase: next }, "Found no PodUsage");
  follower.options.onChange();
}
