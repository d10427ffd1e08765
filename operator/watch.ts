import type { Clock } from "#runtime/clock.ts";
import type { Logger } from "#runtime/log.ts";
import {
  AGENT_DEPLOYMENTS,
  APPROVALS,
  CONFIG_MAPS,
  DEPLOYMENTS,
  HORIZONTAL_POD_AUTOSCALERS,
  NETWORK_POLICIES,
  PERSISTENT_VOLUME_CLAIMS,
  POD_DISRUPTION_BUDGETS,
  POD_USAGES,
  PODS,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
  SERVICES,
  USAGE_LEDGERS,
} from "#runtime/kube/resources.ts";
import { type StoreChange, storeKey } from "#runtime/kube/store.ts";
import { isRecord, type KubeClient, type KubeError, type KubeObject, type ResourceRef } from "#runtime/kube/types.ts";
import { createReflector, type Reflector, trimObject } from "#runtime/kube/watch.ts";
import { agentKeyOf, type Cache, createCache, INDEXES } from "./cache.ts";
import { canonicalJson } from "./canonical.ts";
import { RECONCILE_REQUESTED_AT } from "./desired/names.ts";
import type { Lane } from "./queue.ts";

/** Kinds that an agent's children are of. */
export const CHILD_REFS: readonly ResourceRef[] = [
  NETWORK_POLICIES,
  SERVICE_ACCOUNTS,
  ROLE_BINDINGS,
  CONFIG_MAPS,
  PERSISTENT_VOLUME_CLAIMS,
  SERVICES,
  DEPLOYMENTS,
  HORIZONTAL_POD_AUTOSCALERS,
  POD_DISRUPTION_BUDGETS,
];

const LABELLED = [...CHILD_REFS, PODS, POD_USAGES, APPROVALS];
const SELECTOR = "app.kubernetes.io/managed-by=supercargo";

export interface WatchOptions {
  readonly client: KubeClient;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** A key to reconcile. */
  readonly onKey: (key: string, lane: Lane) => void;
  readonly onCacheMiss?: (kind: string, count: number) => void;
}

/** Everything the operator reads, kept up to date. */
export interface Watches {
  start(): void;
  stop(): Promise<void>;
  /** Kinds that have not been listed yet. */
  unsynced(): readonly string[];
  /** The oldest instant at which a reflector tried last. */
  oldestTryMs(): number;
  problems(): readonly { readonly kind: string; readonly error: KubeError }[];
  cache(ref: ResourceRef): Cache;
}

export function createWatches(options: WatchOptions): Watches {
  const reflectors: { readonly ref: ResourceRef; readonly reflector: Reflector }[] = [];
  const caches = new Map<string, Cache>();
  const keysOfAgents = (): string[] =>
    caches
      .get(AGENT_DEPLOYMENTS.kind)
      ?.list()
      .map((agent) => storeKey(agent.metadata)) ?? [];

  const watchKind = (ref: ResourceRef): void => {
    const namespaces = ref.namespaced && options.namespaces.length > 0 ? options.namespaces : [undefined];
    const own = namespaces.map((namespace) =>
      createReflector({
        client: options.client,
        ref,
        query: {
          ...(namespace === undefined ? {} : { namespace }),
          ...(LABELLED.includes(ref) ? { labelSelector: SELECTOR } : {}),
        },
        clock: options.clock,
        random: options.random,
        log: options.log,
        indexes: INDEXES,
        trim: ref === PODS ? trimPod : trimObject,
        onCacheMiss: (count) => options.onCacheMiss?.(ref.kind, count),
        onChange: (change, source) => {
          caches.get(ref.kind)?.seen(change.key, change.object);
          const lane: Lane = source === "list" ? "resync" : laneOf(ref);
          for (const key of keysOf(ref, change, keysOfAgents)) options.onKey(key, lane);
        },
      }),
    );
    reflectors.push(...own.map((reflector) => ({ ref, reflector })));
    caches.set(ref.kind, createCache(own.map((reflector) => reflector.store)));
  };
  for (const ref of [AGENT_DEPLOYMENTS, ...LABELLED, USAGE_LEDGERS]) watchKind(ref);

  return {
    start: () => reflectors.forEach(({ reflector }) => reflector.start()),
    stop: async () => void (await Promise.all(reflectors.map(({ reflector }) => reflector.stop()))),
    unsynced: () => reflectors.filter(({ reflector }) => !reflector.hasSynced()).map(({ ref }) => ref.plural),
    oldestTryMs: () => Math.min(...reflectors.map(({ reflector }) => reflector.triedMs())),
    problems: () =>
      reflectors.flatMap(({ ref, reflector }) => {
        const error = reflector.problem();
        return error ? [{ kind: ref.kind, error }] : [];
      }),
    cache(ref) {
      const cache = caches.get(ref.kind);
      if (!cache) throw new Error(`Cannot read ${ref.kind} as it is not watched`);
      return cache;
    },
  };
}

function laneOf(ref: ResourceRef): Lane {
  if (ref === AGENT_DEPLOYMENTS) return "people";
  return ref === USAGE_LEDGERS ? "resync" : "children";
}

/** The agents that a change concerns; none when nothing changed that a decision is made on. */
function keysOf(ref: ResourceRef, change: StoreChange, all: () => readonly string[]): readonly string[] {
  const { object, previous } = change;
  if (object && previous && relevantPart(ref, object) === relevantPart(ref, previous)) return [];
  if (ref === AGENT_DEPLOYMENTS) return [change.key];
  // No child follows from what people are asked.
  if (ref === APPROVALS) return [];
  if (ref === USAGE_LEDGERS) return all();
  return [...new Set([agentKeyOf(object), agentKeyOf(previous)])].filter((key) => key !== undefined);
}

/** Text that differs when a new decision may be needed. Status writes of our own and rising totals are none. */
function relevantPart(ref: ResourceRef, object: KubeObject): string {
  const { metadata } = object;
  if (ref === AGENT_DEPLOYMENTS)
    return canonicalJson([
      metadata.uid,
      metadata.generation,
      metadata.deletionTimestamp,
      metadata.labels,
      metadata.annotations?.[RECONCILE_REQUESTED_AT],
    ]);
  const { spec, status } = object;
  if (ref === POD_USAGES)
    return canonicalJson([metadata.labels, spec, isRecord(status) ? status["enforced"] : undefined]);
  if (ref === USAGE_LEDGERS) return canonicalJson(isRecord(spec) ? ledgerPart(spec) : spec);
  return metadata.resourceVersion ?? "";
}

function ledgerPart(spec: Readonly<Record<string, unknown>>): unknown {
  const { mode, planId, lastClosedHour, oldestOpenHour, lastAcceptedHour, parked, problems, nearLimits } = spec;
  return { mode, planId, lastClosedHour, oldestOpenHour, lastAcceptedHour, parked, problems, nearLimits };
}

/** Ten thousand pods are kept: metadata, conditions and container states alone. */
function trimPod(pod: KubeObject): KubeObject {
  const { apiVersion, kind, metadata } = trimObject(pod);
  const status = isRecord(pod["status"]) ? pod["status"] : {};
  const { phase, conditions, containerStatuses, initContainerStatuses } = status;
  return { apiVersion, kind, metadata, status: { phase, conditions, containerStatuses, initContainerStatuses } };
}
