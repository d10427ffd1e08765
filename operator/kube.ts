import { z } from "zod";
import { KubeCallError } from "#runtime/kube/errors.ts";
import { AGENT_DEPLOYMENTS, APPROVALS, CORE_EVENTS, DEPLOYMENTS, EVENTS, POD_USAGES } from "#runtime/kube/resources.ts";
import {
  isRecord,
  type KubeClient,
  type KubeError,
  type KubeObject,
  type ObjectKey,
  type ResourceRef,
} from "#runtime/kube/types.ts";
import { type Action, isInPlace } from "./diff.ts";

/** One field manager per subsystem: what a manager stops applying, it gives up. */
const FIELD_MANAGERS = {
  children: "supercargo-operator-children",
  /** Keeps the replicas that the children's manager no longer applies, until an autoscaler writes its own. */
  handover: "supercargo-handover",
  status: "supercargo-operator-status",
  /** PodUsage.spec.control. */
  control: "supercargo-operator",
  /** The first grant, which the reporter takes over. */
  birth: "supercargo-operator-birth",
} as const;

/** What the operator asks of a cluster. An outcome that a caller must tell apart is a value; the rest is thrown. */
export interface Cluster {
  get(ref: ResourceRef, key: ObjectKey): Promise<KubeObject | undefined>;
  /** Applies or deletes one child; returns the object as it is now. Refused: the API server's reason. */
  act(action: Action): Promise<{ readonly object?: KubeObject; readonly refused?: KubeError }>;
  /** Nothing when it was there already. */
  createPodUsage(object: KubeObject): Promise<KubeObject | undefined>;
  applyControl(object: KubeObject): Promise<KubeObject>;
  applyStatus(object: KubeObject): Promise<KubeObject | undefined>;
  /** Writes an event, or counts it up when it was written before. */
  writeEvent(event: KubeObject, series: KubeObject): Promise<void>;
  /** Deletes exactly this one; one that is gone is as good. */
  deleteApproval(object: KubeObject): Promise<void>;
  /** Why the kubelet could not mount a pod's volumes, newest message first. */
  mountProblems(pod: { readonly namespace: string; readonly uid: string }): Promise<readonly MountProblem[]>;
}

interface MountProblem {
  readonly message: string;
  /** RFC 3339. */
  readonly lastSeenAt: string;
}

/** The Cluster on an API server; every call ends with the signal. */
export function createCluster(client: KubeClient, signal: AbortSignal): Cluster {
  const options = { signal };
  return {
    async get(ref, key) {
      const found = await client.get(ref, key, options);
      if (found.ok) return found.value;
      if (found.error.kind === "NotFound" || found.error.kind === "Forbidden") return undefined;
      throw new KubeCallError(`read ${ref.kind} ${key.name}`, found.error);
    },
    act: (action) =>
      action.kind === "Apply" ? applyChild(client, action, signal) : deleteChild(client, action, signal),
    async createPodUsage(object) {
      const created = await client.create(POD_USAGES, object, { ...options, fieldManager: FIELD_MANAGERS.birth });
      if (created.ok) return created.value;
      if (created.error.kind === "AlreadyExists") return undefined;
      throw new KubeCallError(`create PodUsage ${object.metadata.name}`, created.error);
    },
    async applyControl(object) {
      const applied = await client.apply(POD_USAGES, object, {
        ...options,
        fieldManager: FIELD_MANAGERS.control,
        force: true,
      });
      if (applied.ok) return applied.value;
      throw new KubeCallError(`apply control of PodUsage ${object.metadata.name}`, applied.error);
    },
    async applyStatus(object) {
      const applied = await client.applyStatus(AGENT_DEPLOYMENTS, object, {
        ...options,
        fieldManager: FIELD_MANAGERS.status,
        force: true,
      });
      if (applied.ok) return applied.value;
      // Gone, or made anew under its name: the next object gets a status of its own.
      if (applied.error.kind === "NotFound" || applied.error.kind === "Conflict") return undefined;
      if (applied.error.kind === "Invalid" && applied.error.message.includes("metadata.uid")) return undefined;
      throw new KubeCallError(`write status of ${object.metadata.name}`, applied.error);
    },
    writeEvent: (event, series) => writeEvent(client, { event, series }, signal),
    async deleteApproval({ metadata: { namespace, name, uid } }) {
      const preconditions = uid === undefined ? {} : { preconditions: { uid } };
      const deleted = await client.delete(APPROVALS, { namespace, name }, { ...options, ...preconditions });
      if (deleted.ok || deleted.error.kind === "NotFound" || deleted.error.kind === "Conflict") return;
      throw new KubeCallError(`delete Approval ${name}`, deleted.error);
    },
    mountProblems: (pod) => readMountProblems(client, pod, signal),
  };
}

async function applyChild(
  client: KubeClient,
  action: Extract<Action, { kind: "Apply" }>,
  signal: AbortSignal,
): Promise<{ object?: KubeObject; refused?: KubeError }> {
  const { ref, object } = action.desired;
  const what = `apply ${ref.kind} ${object.metadata.name}`;
  if (ref === DEPLOYMENTS && action.live !== undefined) await handOverReplicas(client, object, signal);
  const applied = await client.apply(ref, object, { fieldManager: FIELD_MANAGERS.children, force: true, signal });
  if (!applied.ok) return refusedOrThrow(what, applied.error);
  if (isInPlace(object, applied.value)) return { object: applied.value };
  // Apply leaves list items that another manager added. A merge patch replaces the whole list; without a change it
  // writes nothing, so it may be repeated where the server itself adds them.
  const { apiVersion, kind, metadata, ...body } = object;
  const patch = { apiVersion, kind, metadata: { name: metadata.name, namespace: metadata.namespace }, ...body };
  const patched = await client.patchMerge(ref, patch, { fieldManager: FIELD_MANAGERS.children, signal });
  return patched.ok ? { object: patched.value } : refusedOrThrow(what, patched.error);
}

/**
 * A field that its owner stops applying goes back to its default: a Deployment of six pods would fall to one on the day its
 * autoscaler begins. Another manager applies the number that is there before we let go of it.
 */
async function handOverReplicas(client: KubeClient, desired: KubeObject, signal: AbortSignal): Promise<void> {
  if (isRecord(desired["spec"]) && desired["spec"]["replicas"] !== undefined) return;
  const { apiVersion, kind, metadata } = desired;
  const { name, namespace } = metadata;
  const found = await client.get(DEPLOYMENTS, { namespace, name }, { signal });
  if (!found.ok) {
    if (found.error.kind === "NotFound") return;
    throw new KubeCallError(`read ${kind} ${name}`, found.error);
  }
  const live = deploymentSchema.parse(found.value);
  if (!live.metadata.managedFields.some((entry) => entry.manager === FIELD_MANAGERS.children && ownsReplicas(entry)))
    return;
  const kept = { apiVersion, kind, metadata: { name, namespace }, spec: { replicas: live.spec.replicas } };
  const applied = await client.apply(DEPLOYMENTS, kept, {
    fieldManager: FIELD_MANAGERS.handover,
    force: false,
    signal,
  });
  if (!applied.ok) throw new KubeCallError(`hand over the replicas of ${name}`, applied.error);
}

const deploymentSchema = z.object({
  metadata: z.object({
    managedFields: z.array(
      z.object({
        manager: z.string().optional(),
        fieldsV1: z.object({ "f:spec": z.looseObject({ "f:replicas": z.unknown().optional() }).optional() }).optional(),
      }),
    ),
  }),
  spec: z.object({ replicas: z.int() }),
});

function ownsReplicas(entry: z.output<typeof deploymentSchema>["metadata"]["managedFields"][number]): boolean {
  return entry.fieldsV1?.["f:spec"]?.["f:replicas"] !== undefined;
}

async function deleteChild(
  client: KubeClient,
  action: Extract<Action, { kind: "Delete" }>,
  signal: AbortSignal,
): Promise<{ refused?: KubeError }> {
  const { name, namespace, uid } = action.live.metadata;
  const preconditions = uid === undefined ? {} : { preconditions: { uid } };
  const deleted = await client.delete(action.desired.ref, { namespace, name }, { ...preconditions, signal });
  if (deleted.ok || deleted.error.kind === "NotFound" || deleted.error.kind === "Conflict") return {};
  return refusedOrThrow(`delete ${action.desired.ref.kind} ${name}`, deleted.error);
}

/** What a person has to change is a value; what time heals is thrown. */
function refusedOrThrow(what: string, error: KubeError): { refused: KubeError } {
  if (error.kind === "Invalid" || error.kind === "Forbidden") return { refused: error };
  throw new KubeCallError(what, error);
}

async function writeEvent(
  client: KubeClient,
  part: { readonly event: KubeObject; readonly series: KubeObject },
  signal: AbortSignal,
): Promise<void> {
  const options = { signal, attemptsMax: 2 };
  const created = await client.create(EVENTS, part.event, options);
  if (created.ok) return;
  const written =
    created.error.kind === "AlreadyExists" ? await client.patchMerge(EVENTS, part.series, options) : created;
  if (!written.ok) throw new KubeCallError(`write event ${part.event.metadata.name}`, written.error);
}

async function readMountProblems(
  client: KubeClient,
  pod: { readonly namespace: string; readonly uid: string },
  signal: AbortSignal,
): Promise<readonly MountProblem[]> {
  const query = { namespace: pod.namespace, fieldSelector: `involvedObject.uid=${pod.uid},reason=FailedMount` };
  const events = await client.list(CORE_EVENTS, query, { signal });
  if (!events.ok) return [];
  return events.value.items
    .map((event) => ({ message: text(event["message"]), lastSeenAt: lastSeen(event) }))
    .sort((a, b) => (a.lastSeenAt < b.lastSeenAt ? 1 : -1));
}

function lastSeen(event: KubeObject): string {
  const series = isRecord(event["series"]) ? text(event["series"]["lastObservedTime"]) : "";
  return (
    [series, text(event["lastTimestamp"]), text(event["eventTime"]), event.metadata.creationTimestamp ?? ""]
      .filter((time) => time !== "")
      .sort()
      .reverse()[0] ?? ""
  );
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
