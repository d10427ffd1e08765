import { setImmediate as yieldLoop } from "node:timers/promises";
import type { Clock } from "../clock.ts";
import { createStore, type Store, type StoreChange, storeKey, type StoreIndexes, type WritableStore } from "./store.ts";
import type { KubeClient, KubeError, KubeObject, ListQuery, ResourceRef, WatchEnd, WatchEvent } from "./types.ts";

/** Below 300 s: load balancers cut longer watches. */
const WATCH_SECONDS = { min: 180, max: 290 };
const BACKOFF_MS = { min: 800, max: 30_000 };
/** After this much health the next failure starts at the smallest delay again. */
const HEALTHY_MS = 120_000;
/** A watch that the server ends sooner than this counts as a failure, or we would spin. */
const SHORT_WATCH_MS = 5_000;
const RELIST_MS = 3_600_000;
/** Objects that are stored before the event loop gets its turn. */
const YIELD_EVERY = 200;

export interface ReflectorOptions {
  readonly client: KubeClient;
  readonly ref: ResourceRef;
  readonly query?: Pick<ListQuery, "namespace" | "labelSelector" | "fieldSelector">;
  readonly clock: Clock;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
  /** Keeps what is needed of an object. @default drops managedFields and the last-applied annotation */
  readonly trim?: (object: KubeObject) => KubeObject;
  readonly indexes?: StoreIndexes;
  /** Called for each change in order; should add a key to a queue and no more. What it throws is logged. */
  readonly onChange?: (change: StoreChange, source: "list" | "watch") => void;
  readonly log: { warn(fields: object, message: string): void; debug(fields: object, message: string): void };
  /** A periodic full list found what the watch had missed. Must stay silent. */
  readonly onCacheMiss?: (count: number) => void;
}

export interface Reflector {
  readonly store: Store;
  start(): void;
  /** Ends the watch and waits for it. */
  stop(): Promise<void>;
  hasSynced(): boolean;
  /** Monotonic instant of the newest try to list or watch: a liveness probe may ask for it. */
  triedMs(): number;
  /** Why the newest try failed; nothing when it went well. */
  problem(): KubeError | undefined;
}

/** A cache of one kind that follows the API server. It never dies and never throws. */
export function createReflector(options: ReflectorOptions): Reflector {
  const store = createStore(options.indexes);
  const stopping = new AbortController();
  const state: State = {
    resourceVersion: undefined,
    synced: false,
    triedMs: options.clock.monotonic(),
    error: undefined,
  };
  let running: Promise<void> | undefined;
  return {
    store,
    start() {
      running ??= follow({ options, store, state, signal: stopping.signal });
    },
    async stop() {
      stopping.abort(new Error("Stopped"));
      await running;
    },
    hasSynced: () => state.synced,
    triedMs: () => state.triedMs,
    problem: () => state.error,
  };
}

interface State {
  resourceVersion: string | undefined;
  synced: boolean;
  triedMs: number;
  error: KubeError | undefined;
}

interface Follower {
  readonly options: ReflectorOptions;
  readonly store: WritableStore;
  readonly state: State;
  readonly signal: AbortSignal;
}

/** List, watch, and again from where it ended, for ever. */
async function follow(follower: Follower): Promise<void> {
  const { options, state, signal } = follower;
  let delayMs = 0;
  let relistAtMs = 0;
  while (!signal.aborted) {
    const startedMs = options.clock.monotonic();
    state.triedMs = startedMs;
    const relistDue = startedMs >= relistAtMs;
    const end = await (state.resourceVersion === undefined || relistDue
      ? listOnce(follower)
      : watchUntil(follower, relistAtMs));
    if (end.kind === "Listed") relistAtMs = startedMs + RELIST_MS * (0.9 + 0.2 * options.random());
    const tookMs = options.clock.monotonic() - startedMs;
    if (tookMs > HEALTHY_MS) delayMs = 0;
    if (!isFailure(end, tookMs)) continue;
    delayMs = nextDelayMs(delayMs, options.random);
    await options.clock.sleep(delayMs, signal).catch(() => undefined);
  }
}

type StepEnd = WatchEnd | { readonly kind: "Listed" };

function isFailure(end: StepEnd, tookMs: number): boolean {
  if (end.kind === "Failed") return true;
  return end.kind === "Closed" && tookMs < SHORT_WATCH_MS;
}

/** Decorrelated jitter: between the smallest delay and three times the last. */
function nextDelayMs(lastMs: number, random: () => number): number {
  const ceiling = Math.max(BACKOFF_MS.min, Math.min(BACKOFF_MS.max, lastMs * 3));
  return BACKOFF_MS.min + random() * (ceiling - BACKOFF_MS.min);
}

async function listOnce(follower: Follower): Promise<StepEnd> {
  const { options, store, state, signal } = follower;
  const result = await options.client.list(options.ref, options.query ?? {}, { signal, attemptsMax: 1 });
  if (!result.ok) return fail(follower, result.error, "Failed to list");
  const seenVersion = state.resourceVersion;
  const names = new Set<string>();
  let missed = 0;
  for (const [count, item] of result.value.items.entries()) {
    names.add(storeKey(item.metadata));
    if (seenVersion !== undefined && isMiss(store, item, seenVersion)) missed += 1;
    storeObject(follower, item, "list");
    if (count % YIELD_EVERY === YIELD_EVERY - 1) await yieldLoop();
  }
  for (const change of store.removeMissing(names)) notify(options, change, "list");
  if (missed > 0) options.onCacheMiss?.(missed);
  state.resourceVersion = result.value.resourceVersion;
  state.synced = true;
  state.error = undefined;
  return { kind: "Listed" };
}

/** Whether the watch should have told of this object's version already. */
function isMiss(store: Store, item: KubeObject, seenVersion: string): boolean {
  const version = item.metadata.resourceVersion ?? "0";
  const cached = store.get(item.metadata)?.metadata.resourceVersion;
  return cached !== version && isOlderOrSame(version, seenVersion);
}

/** From 1.35 on the API promises that versions of one kind compare as integers; before it was so in practice. */
function isOlderOrSame(version: string, than: string): boolean {
  if (!/^\d+$/.test(version) || !/^\d+$/.test(than)) return false;
  return BigInt(version) <= BigInt(than);
}

async function watchUntil(follower: Follower, relistAtMs: number): Promise<StepEnd> {
  const { options, state, signal } = follower;
  const seconds = WATCH_SECONDS.min + Math.floor(options.random() * (WATCH_SECONDS.max - WATCH_SECONDS.min));
  const untilRelist = Math.max(1, Math.ceil((relistAtMs - options.clock.monotonic()) / 1000));
  const end = await options.client.watch(
    options.ref,
    {
      ...options.query,
      resourceVersion: state.resourceVersion ?? "",
      timeoutSeconds: Math.min(seconds, untilRelist),
    },
    {
      signal,
      onOpen: () => (state.error = undefined),
      onEvent: (event) => takeEvent(follower, event),
    },
  );
  if (end.kind === "Gone" || (end.kind === "Failed" && isFromTheFuture(end.error))) {
    state.resourceVersion = undefined;
    return { kind: "Gone" };
  }
  return end.kind === "Failed" ? fail(follower, end.error, "Lost a watch") : end;
}

/** The server we reach now is behind the one we listed from, or was restored from a backup. */
function isFromTheFuture(error: KubeError): boolean {
  return error.message.includes("Too large resource version");
}

function takeEvent(follower: Follower, event: WatchEvent): void {
  const { options, store, state, signal } = follower;
  if (signal.aborted) return;
  state.resourceVersion = event.object.metadata.resourceVersion ?? state.resourceVersion;
  if (event.type === "BOOKMARK") return;
  if (event.type === "DELETED") for (const change of store.remove(event.object)) notify(options, change, "watch");
  else storeObject(follower, event.object, "watch");
}

function storeObject(follower: Follower, object: KubeObject, source: "list" | "watch"): void {
  const { options, store } = follower;
  if (store.get(object.metadata)?.metadata.resourceVersion === object.metadata.resourceVersion) return;
  for (const change of store.set((options.trim ?? trimObject)(object))) notify(options, change, source);
}

function notify(options: ReflectorOptions, change: StoreChange, source: "list" | "watch"): void {
  try {
    options.onChange?.(change, source);
  } catch (err) {
    options.log.warn({ err, kind: options.ref.kind, key: change.key }, "Failed to take a change");
  }
}

function fail(follower: Follower, error: KubeError, message: string): StepEnd {
  const { options, state, signal } = follower;
  state.error = error;
  if (!signal.aborted) options.log.warn({ kind: options.ref.kind, code: error.kind, err: error.message }, message);
  return { kind: "Failed", error };
}

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** Drops what nobody here reads and what takes the most room. */
export function trimObject(object: KubeObject): KubeObject {
  const { managedFields: _, annotations, ...metadata } = object.metadata;
  if (annotations === undefined) return { ...object, metadata };
  const { [LAST_APPLIED]: _last, ...kept } = annotations;
  return { ...object, metadata: { ...metadata, annotations: kept } };
}
