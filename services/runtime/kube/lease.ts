import { z } from "zod";
import type { Clock } from "../clock.ts";
import { LEASES } from "./resources.ts";
import type { CallOptions, KubeClient, KubeObject, KubeResult } from "./types.ts";

/** Times of client-go's election. */
export const LEASE_TIMES = {
  leaseSeconds: 15,
  renewDeadlineMs: 10_000,
  retryMs: 2_000,
  callTimeoutMs: 5_000,
} as const;

const leaseSchema = z.object({
  holderIdentity: z.string().nullish(),
  leaseDurationSeconds: z.int().nullish(),
  acquireTime: z.string().nullish(),
  renewTime: z.string().nullish(),
  leaseTransitions: z.int().nullish(),
});

export interface ElectionOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
  readonly lease: { readonly namespace: string; readonly name: string };
  /** Unique per process life: pod name and a random part. */
  readonly identity: string;
  /** The signal aborts when leadership ends, for whatever reason. */
  readonly onLead: (signal: AbortSignal) => void;
  /** Leadership was lost other than by stop(): the process must end, its work may already be another's. */
  readonly onLost: (reason: string) => void;
  readonly onStatus?: (leading: boolean) => void;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

export interface Election {
  start(): void;
  /** False the moment the renew deadline has passed, even if the event loop was blocked. */
  isLeader(): boolean;
  /** Ends the election; a leader first gives the Lease back so that another can take it at once. */
  stop(): Promise<void>;
}

/**
 * One leader at a time by a Lease. A standby waits a whole lease from when it last saw the record change, on its own
 * monotonic clock; times written by other hosts are never compared. A leader that cannot renew fences itself.
 */
export function createElection(options: ElectionOptions): Election {
  const stopping = new AbortController();
  const candidate: Candidate = {
    options,
    stopping: stopping.signal,
    leading: undefined,
    renewedMs: 0,
    record: undefined,
    seenMs: 0,
  };
  let running: Promise<void> | undefined;
  return {
    start() {
      running ??= run(candidate);
    },
    isLeader: () => isLeader(candidate),
    async stop() {
      stopping.abort(new Error("Stopped"));
      await running;
      if (isLeader(candidate)) await release(candidate);
      candidate.leading?.abort(new Error("Stopped"));
      candidate.leading = undefined;
      options.onStatus?.(false);
    },
  };
}

interface Candidate {
  readonly options: ElectionOptions;
  readonly stopping: AbortSignal;
  leading: AbortController | undefined;
  /** Monotonic start of the newest renewal that arrived. */
  renewedMs: number;
  record: KubeObject | undefined;
  /** Monotonic instant at which `record` was first seen as it is. */
  seenMs: number;
}

function isLeader(candidate: Candidate): boolean {
  return candidate.leading !== undefined && timeLeftMs(candidate) > 0;
}

/** Until the renew deadline. */
function timeLeftMs(candidate: Candidate): number {
  return Math.max(0, candidate.renewedMs + LEASE_TIMES.renewDeadlineMs - candidate.options.clock.monotonic());
}

async function run(candidate: Candidate): Promise<void> {
  const { clock, random } = candidate.options;
  candidate.options.onStatus?.(false);
  while (!candidate.stopping.aborted) {
    if (candidate.leading) {
      const lost = await renew(candidate);
      if (lost !== undefined) return lose(candidate, lost);
    } else await tryAcquire(candidate);
    const waitMs = candidate.leading
      ? Math.min(LEASE_TIMES.retryMs, timeLeftMs(candidate))
      : LEASE_TIMES.retryMs * (1 + 1.2 * random());
    await clock.sleep(waitMs, candidate.stopping).catch(() => undefined);
  }
}

async function tryAcquire(candidate: Candidate): Promise<void> {
  const { options } = candidate;
  const startedMs = options.clock.monotonic();
  const found = await readLease(candidate);
  if (!found.ok && found.error.kind !== "NotFound") {
    options.log.warn({ code: found.error.kind, err: found.error.message }, "Failed to read Lease");
    return;
  }
  if (found.ok && !isFree(candidate, found.value)) return;
  const object = leaseObject(candidate, found.ok ? found.value : undefined);
  const written = found.ok
    ? await options.client.update(LEASES, object, callOptions(candidate))
    : await options.client.create(LEASES, object, callOptions(candidate));
  if (!written.ok || candidate.stopping.aborted) return;
  candidate.record = written.value;
  candidate.renewedMs = startedMs;
  candidate.leading = new AbortController();
  options.log.info({ lease: options.lease.name, identity: options.identity }, "Took the Lease");
  options.onStatus?.(true);
  options.onLead(candidate.leading.signal);
}

/** Free when nobody holds it, or the holder was silent for a whole lease as seen from here. */
function isFree(candidate: Candidate, lease: KubeObject): boolean {
  const { clock } = candidate.options;
  if (candidate.record?.metadata.resourceVersion !== lease.metadata.resourceVersion) {
    candidate.record = lease;
    candidate.seenMs = clock.monotonic();
  }
  const { holderIdentity, leaseDurationSeconds } = leaseSpec(lease);
  if (!holderIdentity) return true;
  const leaseMs = Math.max(1, leaseDurationSeconds ?? LEASE_TIMES.leaseSeconds) * 1000;
  return clock.monotonic() - candidate.seenMs > leaseMs;
}

/** Nothing when the Lease is still ours, else why it is not. */
async function renew(candidate: Candidate): Promise<string | undefined> {
  const { options } = candidate;
  const startedMs = options.clock.monotonic();
  const leftMs = timeLeftMs(candidate);
  if (leftMs <= 0) return "the renew deadline passed";
  const call = { ...callOptions(candidate), timeoutMs: Math.min(LEASE_TIMES.callTimeoutMs, leftMs) };
  const written = await options.client.update(LEASES, leaseObject(candidate, candidate.record), call);
  if (written.ok) {
    candidate.record = written.value;
    candidate.renewedMs = startedMs;
    return undefined;
  }
  if (candidate.stopping.aborted) return undefined;
  options.log.warn({ code: written.error.kind, err: written.error.message }, "Failed to renew Lease");
  if (written.error.kind === "NotFound") return "the Lease was deleted";
  return written.error.kind === "Conflict" ? rereadLease(candidate) : undefined;
}

/** A conflict may be our own write whose answer was lost. */
async function rereadLease(candidate: Candidate): Promise<string | undefined> {
  const found = await readLease(candidate);
  if (!found.ok) return undefined;
  if (leaseSpec(found.value).holderIdentity !== candidate.options.identity) return "another process holds the Lease";
  candidate.record = found.value;
  return undefined;
}

function lose(candidate: Candidate, reason: string): void {
  const { options } = candidate;
  options.log.warn({ lease: options.lease.name, reason }, "Lost the Lease");
  candidate.leading?.abort(new Error(`Lost the Lease: ${reason}`));
  candidate.leading = undefined;
  options.onStatus?.(false);
  options.onLost(reason);
}

async function release(candidate: Candidate): Promise<void> {
  const object = leaseObject(candidate, candidate.record);
  const spec = { ...leaseSpec(object), holderIdentity: "", leaseDurationSeconds: 1 };
  await candidate.options.client.update(
    LEASES,
    { ...object, spec },
    { timeoutMs: LEASE_TIMES.callTimeoutMs, attemptsMax: 1 },
  );
}

function readLease(candidate: Candidate): Promise<KubeResult<KubeObject>> {
  return candidate.options.client.get(LEASES, candidate.options.lease, callOptions(candidate));
}

function callOptions(candidate: Candidate): CallOptions {
  return { timeoutMs: LEASE_TIMES.callTimeoutMs, attemptsMax: 1, signal: candidate.stopping };
}

function leaseSpec(lease: KubeObject): z.output<typeof leaseSchema> {
  return leaseSchema.parse(lease["spec"] ?? {});
}

function leaseObject(candidate: Candidate, current: KubeObject | undefined): KubeObject {
  const { options } = candidate;
  const now = microTime(options.clock.now());
  const previous = current ? leaseSpec(current) : undefined;
  const isOurs = previous?.holderIdentity === options.identity;
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { ...options.lease, resourceVersion: current?.metadata.resourceVersion },
    spec: {
      holderIdentity: options.identity,
      leaseDurationSeconds: LEASE_TIMES.leaseSeconds,
      acquireTime: isOurs ? previous.acquireTime : now,
      renewTime: now,
      leaseTransitions: previous ? (previous.leaseTransitions ?? 0) + (isOurs ? 0 : 1) : 0,
    },
  };
}

/** MicroTime takes exactly six digits; `toISOString` gives three and is refused. */
export function microTime(instantMs: number): string {
  return new Date(instantMs).toISOString().replace("Z", "000Z");
}
