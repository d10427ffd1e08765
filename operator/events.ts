import { API_VERSION } from "#core/api/meta.ts";
import type { Clock } from "#runtime/clock.ts";
import { microTime } from "#runtime/kube/lease.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import type { Logger } from "#runtime/log.ts";
import { sha256 } from "./canonical.ts";
import type { Cluster } from "./kube.ts";
import type { Agent } from "./observe.ts";
import type { ConditionChange } from "./status.ts";

const CONTROLLER = "supercargo.dev/operator";
/** The same event within this window counts up; later it is a new one. */
const SERIES_MS = 360_000;
/** Numbers of client-go's spam filter, per object. */
const BURST = 25;
const REFILL_MS = 300_000;

export interface Recorder {
  /** One event per changed condition. A failure is logged: no reconcile fails for an event. */
  record(cluster: Cluster, agent: Agent, changes: readonly ConditionChange[]): Promise<void>;
  /** Forgets an agent that is gone. */
  forget(key: string): void;
}

interface Memory {
  tokens: number;
  refilledMs: number;
  readonly counts: Map<string, number>;
}

export function createRecorder(options: {
  readonly clock: Clock;
  /** The operator's pod. */
  readonly instance: string;
  readonly log: Pick<Logger, "warn">;
}): Recorder {
  const memories = new Map<string, Memory>();
  return {
    async record(cluster, agent, changes) {
      const memory = memories.get(agent.key) ?? {
        tokens: BURST,
        refilledMs: options.clock.monotonic(),
        counts: new Map(),
      };
      memories.set(agent.key, memory);
      for (const change of changes) {
        if (!takeToken(memory, options.clock.monotonic())) return;
        const event = toEvent(agent, change, options);
        const count = (memory.counts.get(event.metadata.name) ?? 0) + 1;
        if (memory.counts.size >= BURST) memory.counts.clear();
        memory.counts.set(event.metadata.name, count);
        try {
          await cluster.writeEvent(event, toSeries(event, Math.max(2, count)));
        } catch (err) {
          options.log.warn({ err, namespace: agent.namespace, name: agent.name }, "Failed to write event");
        }
      }
    },
    forget: (key) => void memories.delete(key),
  };
}

function takeToken(memory: Memory, nowMs: number): boolean {
  const earned = Math.floor((nowMs - memory.refilledMs) / REFILL_MS);
  if (earned > 0) {
    memory.tokens = Math.min(BURST, memory.tokens + earned);
    memory.refilledMs += earned * REFILL_MS;
  }
  if (memory.tokens === 0) return false;
  memory.tokens -= 1;
  return true;
}

function toEvent(
  agent: Agent,
  change: ConditionChange,
  options: { readonly clock: Clock; readonly instance: string },
): KubeObject {
  const nowMs = options.clock.now();
  const window = Math.floor(nowMs / SERIES_MS);
  const id = sha256([agent.uid, change.type, change.status, change.reason, window].join("/")).slice(0, 16);
  return {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: `${agent.name}.${id}`, namespace: agent.namespace },
    eventTime: microTime(nowMs),
    action: "Reconcile",
    reason: change.reason,
    type: change.tone,
    reportingController: CONTROLLER,
    reportingInstance: options.instance.slice(0, 128),
    regarding: {
      apiVersion: API_VERSION,
      kind: "AgentDeployment",
      namespace: agent.namespace,
      name: agent.name,
      uid: agent.uid,
    },
    note: `${change.type} is ${change.status}: ${change.message}`.slice(0, 1024),
  };
}

/** All but the series of an event is immutable. */
function toSeries(event: KubeObject, count: number): KubeObject {
  const { name, namespace } = event.metadata;
  return {
    apiVersion: event.apiVersion,
    kind: event.kind,
    metadata: { name, namespace },
    series: { count, lastObservedTime: event["eventTime"] },
  };
}
