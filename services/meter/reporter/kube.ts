import { podUsageSchema, type Grants, type PodUsage } from "#core/api/pod-usage.ts";
import { usageLedgerSchema, type Ledger } from "#core/api/usage-ledger.ts";
import { statementName, usageStatementSchema, type Statement } from "#core/api/usage-statement.ts";
import type { Slot } from "#core/ledger.ts";
import { toPodView } from "#core/counted.ts";
import { type RingWanted, thinRing } from "#core/ring.ts";
import { KubeCallError } from "#runtime/kube/errors.ts";
import { apiVersionOf, PODS, POD_USAGES, USAGE_LEDGERS, USAGE_STATEMENTS } from "#runtime/kube/resources.ts";
import { isRecord, type KubeClient, type KubeObject, type KubeResult, type ResourceRef } from "#runtime/kube/types.ts";
import type { Logger } from "#runtime/log.ts";
import { offerHash } from "#runtime/offer.ts";
import type { Books, Versioned } from "./desk.ts";

export interface KubeBooksOptions {
  readonly client: KubeClient;
  readonly offerResourceId: string;
  /** Every answer carries the API server's clock. */
  readonly onDate: (dateMs: number | undefined) => void;
  readonly log: Pick<Logger, "warn">;
}

const FIELD_MANAGER = "supercargo-reporter";
/**
 * Forgets who wrote which field. The API server lists every item of a ledger's lists there, and compares all of it at each
 * write: with 5,000 settled totals two thirds of the object and four fifths of a write's time. Nobody else writes these.
 */
const NO_MANAGED_FIELDS = [{}];
/** Names the offer resource of an object. */
export const OFFER_LABEL = "supercargo.dev/offer";
/** A PodUsage with ten dimensions and a full ring has 16 kB: a page of 500 would block the loop for longer than probes like. */
const POD_USAGES_PER_PAGE = 50;

/** The money objects in the API server. */
export function createKubeBooks(options: KubeBooksOptions): Books {
  const hash = offerHash(options.offerResourceId);
  const door: Door = { ...options, hash };
  return {
    readLedger: () => readLedger(door),
    createLedger: (ledger) => create(door, { ...LEDGERS, name: hash, spec: ledger }),
    writeLedger: (ledger) => swap(door, { ...LEDGERS, name: hash, spec: ledger.value }, ledger.version),
    readStatement: (slot) => readStatement(door, slot),
    createStatement: (statement) =>
      create(door, { ...STATEMENTS, name: statementName(hash, statement.intent), spec: statement }),
    writeStatement: (statement) =>
      swap(
        door,
        { ...STATEMENTS, name: statementName(hash, statement.value.intent), spec: statement.value },
        statement.version,
      ),
    listStatements: () => listStatements(door),
    deleteStatement: (statement) => deleteStatement(door, statement),
    listPodUsages: (wanted) => listPodUsages(door, wanted),
    isPodGone: (object) => isPodGone(door, object),
    deletePodUsage: (object) => deletePodUsage(door, object),
    applyGrants: (object, grants) => applyGrants(door, object, grants),
  };
}

interface Door extends KubeBooksOptions {
  readonly hash: string;
}

interface Kind<T> {
  readonly ref: ResourceRef;
  readonly parse: (object: unknown) => T;
}

interface Writing<T> extends Kind<T> {
  readonly name: string;
  readonly spec: T;
}

const LEDGERS: Kind<Ledger> = { ref: USAGE_LEDGERS, parse: (object) => usageLedgerSchema.parse(object).spec };
const STATEMENTS: Kind<Statement> = {
  ref: USAGE_STATEMENTS,
  parse: (object) => usageStatementSchema.parse(object).spec,
};

async function readLedger(door: Door): Promise<Versioned<Ledger> | undefined> {
  const result = note(door, await door.client.get(USAGE_LEDGERS, { name: door.hash }));
  if (!result.ok && result.error.kind === "NotFound") return undefined;
  return toVersioned(valueOf("read UsageLedger", result), LEDGERS);
}

async function readStatement(door: Door, slot: Slot): Promise<Versioned<Statement> | undefined> {
  const result = note(door, await door.client.get(USAGE_STATEMENTS, { name: statementName(door.hash, slot) }));
  if (!result.ok && result.error.kind === "NotFound") return undefined;
  return toVersioned(valueOf("read UsageStatement", result), STATEMENTS);
}

async function create<T>(door: Door, writing: Writing<T>): Promise<Versioned<T> | "Conflict"> {
  const result = note(door, await door.client.create(writing.ref, toObject(door, writing)));
  if (!result.ok && (result.error.kind === "AlreadyExists" || result.error.kind === "Conflict")) return "Conflict";
  return toVersioned(valueOf(`create ${writing.ref.kind}`, result), writing);
}

async function swap<T>(door: Door, writing: Writing<T>, version: string): Promise<Versioned<T> | "Conflict"> {
  const object = toObject(door, writing);
  const metadata = { ...object.metadata, resourceVersion: version, managedFields: NO_MANAGED_FIELDS };
  const result = note(door, await door.client.update(writing.ref, { ...object, metadata }));
  if (!result.ok && (result.error.kind === "Conflict" || result.error.kind === "NotFound")) return "Conflict";
  return toVersioned(valueOf(`write ${writing.ref.kind}`, result), writing);
}

async function listStatements(door: Door): Promise<Statement[]> {
  const query = { labelSelector: `${OFFER_LABEL}=${door.hash}` };
  const list = await door.client.collect(USAGE_STATEMENTS, STATEMENTS.parse, { query });
  return [...valueOf("list UsageStatements", note(door, list)).items];
}

async function deleteStatement(door: Door, statement: Versioned<Statement>): Promise<"Deleted" | "Changed"> {
  const name = statementName(door.hash, statement.value.intent);
  const preconditions = { resourceVersion: statement.version };
  const result = note(door, await door.client.delete(USAGE_STATEMENTS, { name }, { preconditions }));
  if (result.ok || result.error.kind === "NotFound") return "Deleted";
  if (result.error.kind === "Conflict") return "Changed";
  throw new KubeCallError("delete UsageStatement", result.error);
}

/** A PodUsage that cannot be read is left out with a warning: one damaged object must not stop all billing. */
async function listPodUsages(door: Door, wanted: RingWanted | undefined): Promise<PodUsage[]> {
  const offer = door.offerResourceId.toLowerCase();
  const keep = (item: KubeObject): PodUsage | undefined => {
    const parsed = podUsageSchema.safeParse(wanted ? thinObject(item, wanted) : item);
    if (!parsed.success) {
      const { namespace, name } = item.metadata;
      door.log.warn({ namespace, name, err: parsed.error.issues[0]?.message }, "Failed to understand PodUsage");
      return undefined;
    }
    if (parsed.data.spec.offerResourceId.toLowerCase() !== offer) return undefined;
    // Read once, here, where the loop gets its turn: the folds ask for all of them at a time.
    toPodView(parsed.data);
    return parsed.data;
  };
  const query = { limit: POD_USAGES_PER_PAGE };
  return [...valueOf("list PodUsages", note(door, await door.client.collect(POD_USAGES, keep, { query }))).items];
}

/** Most of a ring is of hours that are closed: it is dropped unread, before anything is checked. */
function thinObject(item: KubeObject, wanted: RingWanted): KubeObject {
  const status = item["status"];
  if (!isRecord(status) || !Array.isArray(status["boundaries"])) return item;
  const boundaries: unknown[] = status["boundaries"];
  return { ...item, status: { ...status, boundaries: thinRing(boundaries.filter(hasHour), wanted) } };
}

function hasHour(entry: unknown): entry is { readonly hour: string } {
  return isRecord(entry) && typeof entry["hour"] === "string";
}

/** Gone: no pod of that name, or another pod under it. Anything unclear is not gone. */
async function isPodGone(door: Door, object: PodUsage): Promise<boolean> {
  const key = { namespace: object.metadata.namespace, name: object.spec.podName };
  const result = note(door, await door.client.get(PODS, key));
  if (!result.ok) return result.error.kind === "NotFound";
  return result.value.metadata.uid !== object.metadata.name;
}

async function deletePodUsage(door: Door, object: PodUsage): Promise<"Deleted" | "Changed"> {
  const { namespace, name, uid, resourceVersion } = object.metadata;
  const preconditions = {
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
  const result = note(door, await door.client.delete(POD_USAGES, { namespace, name }, { preconditions }));
  if (result.ok || result.error.kind === "NotFound") return "Deleted";
  if (result.error.kind === "Conflict") return "Changed";
  throw new KubeCallError("delete PodUsage", result.error);
}

/**
 * The uid makes the API server refuse rather than create: a deleted PodUsage must not come back. The version makes the
 * write of a paused old leader fail once a new one has stamped the object.
 */
async function applyGrants(door: Door, object: PodUsage, grants: Grants): Promise<"Written" | "Changed" | "Gone"> {
  const { namespace, name, uid, resourceVersion } = object.metadata;
  const patch: KubeObject = {
    apiVersion: apiVersionOf(POD_USAGES),
    kind: POD_USAGES.kind,
    metadata: { namespace, name, uid, resourceVersion },
    spec: { grants },
  };
  const result = note(door, await door.client.apply(POD_USAGES, patch, { fieldManager: FIELD_MANAGER, force: true }));
  if (result.ok) return "Written";
  if (result.error.kind === "NotFound") return "Gone";
  if (result.error.kind === "Conflict") return "Changed";
  throw new KubeCallError("apply grants", result.error);
}

function toObject<T>(door: Door, writing: Writing<T>): KubeObject {
  return {
    apiVersion: apiVersionOf(writing.ref),
    kind: writing.ref.kind,
    metadata: {
      name: writing.name,
      labels: { [OFFER_LABEL]: door.hash, "app.kubernetes.io/managed-by": FIELD_MANAGER },
    },
    spec: writing.spec,
  };
}

function toVersioned<T>(object: KubeObject, kind: Kind<T>): Versioned<T> {
  return { value: kind.parse(object), version: object.metadata.resourceVersion ?? "" };
}

function note<T>(door: Door, result: KubeResult<T>): KubeResult<T> {
  if (result.ok) door.onDate(result.dateMs);
  return result;
}

function valueOf<T>(what: string, result: KubeResult<T>): T {
  if (result.ok) return result.value;
  throw new KubeCallError(what, result.error);
}
