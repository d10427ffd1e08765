import { podUsageSchema, type Grants, type PodUsage, type PodUsageStatus } from "#core/api/pod-usage.ts";
import { usageLedgerSpecSchema, type Ledger } from "#core/api/usage-ledger.ts";
import { statementName, usageStatementSpecSchema, type Statement } from "#core/api/usage-statement.ts";
import type { Slot } from "#core/ledger.ts";
import type { Versioned } from "../../services/meter/reporter/desk.ts";

export interface ApiOptions {
  /** Parses and freezes whatever is stored: slow, so for a sample of the histories. */
  readonly strict: boolean;
  /** A rule of the CRDs was broken: the write is refused, and somebody meant to do what must not be. */
  readonly onBroken: (law: string, problem: string) => void;
  /** An object was created, deleted or changed, by its spec or by its status. */
  readonly onPodUsage: (change: PodChange) => void;
  /** A ledger was created or written. */
  readonly onLedger: (before: Ledger | undefined, after: Ledger) => void;
}

export interface PodChange {
  readonly uid: string;
  readonly part: "Spec" | "Status";
  readonly object: PodUsage | undefined;
}

/** What an etcd backup holds of us. */
export interface Backup {
  readonly ledger: Versioned<Ledger> | undefined;
  readonly statements: ReadonlyMap<string, Versioned<Statement>>;
}

/** The API server as far as money goes: objects with versions, compare-and-swap, the rules of the CRDs. */
export class ApiModel {
  ledger: Versioned<Ledger> | undefined;
  readonly statements = new Map<string, Versioned<Statement>>();
  readonly podUsages = new Map<string, PodUsage>();
  readonly #options: ApiOptions;
  #version = 0;
  /** Of PodUsages: no backup of ours holds them, so theirs never fall. */
  #podVersion = 0;

  constructor(options: ApiOptions) {
    this.#options = options;
  }

  nextPodVersion(): string {
    this.#podVersion += 1;
    return String(this.#podVersion);
  }

  createLedger(value: Ledger): Versioned<Ledger> | "Conflict" {
    return this.ledger ? "Conflict" : this.#storeLedger(value);
  }

  writeLedger(next: Versioned<Ledger>): Versioned<Ledger> | "Conflict" {
    return this.ledger?.version === next.version ? this.#storeLedger(next.value) : "Conflict";
  }

  readStatement(slot: Slot): Versioned<Statement> | undefined {
    return this.statements.get(statementName("h", slot));
  }

  createStatement(value: Statement): Versioned<Statement> | "Conflict" {
    return this.readStatement(value.intent) ? "Conflict" : this.#storeStatement(value);
  }

  writeStatement(next: Versioned<Statement>): Versioned<Statement> | "Conflict" {
    const current = this.readStatement(next.value.intent);
    return current?.version === next.version ? this.#storeStatement(next.value) : "Conflict";
  }

  deleteStatement(statement: Versioned<Statement>): "Deleted" | "Changed" {
    const current = this.readStatement(statement.value.intent);
    if (current?.version !== statement.version) return "Changed";
    this.statements.delete(statementName("h", statement.value.intent));
    return "Deleted";
  }

  deletePodUsage(object: PodUsage): "Deleted" | "Changed" {
    const { name, uid, resourceVersion } = object.metadata;
    const current = this.podUsages.get(name);
    if (!current) return "Deleted";
    if (current.metadata.uid !== uid || current.metadata.resourceVersion !== resourceVersion) return "Changed";
    this.podUsages.delete(name);
    this.#options.onPodUsage({ uid: name, part: "Spec", object: undefined });
    return "Deleted";
  }

  /** Server-side apply with uid and version: refused rather than created, or written over another's write. */
  applyGrants(object: PodUsage, grants: Grants): "Written" | "Changed" | "Gone" {
    const current = this.podUsages.get(object.metadata.name);
    if (!current) return "Gone";
    const { uid, resourceVersion } = current.metadata;
    if (uid !== object.metadata.uid || resourceVersion !== object.metadata.resourceVersion) return "Changed";
    this.putPodUsage({ ...current, spec: { ...current.spec, grants } }, "Spec");
    return "Written";
  }

  /** Stores an object under a new version and tells its watcher. */
  putPodUsage(object: PodUsage, part: PodChange["part"]): PodUsage {
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: this.nextPodVersion() } };
    if (this.#options.strict) freeze(podUsageSchema.parse(stored));
    this.podUsages.set(object.metadata.name, stored);
    this.#options.onPodUsage({ uid: object.metadata.name, part, object: stored });
    return stored;
  }

  /** The sidecar's PUT. The rules of the CRD: no total falls or vanishes, the sequence neither. */
  putStatus(
    uid: string,
    version: string | undefined,
    status: PodUsageStatus,
  ): PodUsage | "Conflict" | "NotFound" | "Invalid" {
    const current = this.podUsages.get(uid);
    if (!current) return "NotFound";
    if (current.metadata.resourceVersion !== version) return "Conflict";
    const fallen = fallenTotals(current.status, status);
    if (fallen.length === 0) return this.putPodUsage({ ...current, status }, "Status");
    this.#options.onBroken("I5", `${uid} published a smaller ${fallen.join(", ")}`);
    return "Invalid";
  }

  backup(): Backup {
    return { ledger: this.ledger, statements: new Map(this.statements) };
  }

  /** A backup of the money objects comes back; their versions go on, or go back with it. */
  restore(backup: Backup, versionsFall: boolean): void {
    if (versionsFall) this.#version -= Math.min(this.#version, 3);
    this.ledger = backup.ledger ? { value: backup.ledger.value, version: this.#nextVersion() } : undefined;
    this.statements.clear();
    for (const [name, { value }] of backup.statements)
      this.statements.set(name, { value, version: this.#nextVersion() });
  }

  #nextVersion(): string {
    this.#version += 1;
    return String(this.#version);
  }

  #storeLedger(value: Ledger): Versioned<Ledger> {
    if (this.#options.strict) freeze(usageLedgerSpecSchema.parse(value));
    const problem = ledgerProblem(this.ledger?.value, value);
    if (problem !== undefined) {
      this.#options.onBroken("I5", problem);
      throw new Error(problem);
    }
    this.#options.onLedger(this.ledger?.value, value);
    this.ledger = { value, version: this.#nextVersion() };
    return this.ledger;
  }

  #storeStatement(value: Statement): Versioned<Statement> {
    if (this.#options.strict) freeze(usageStatementSpecSchema.parse(value));
    const name = statementName("h", value.intent);
    const problem = statementProblem(this.statements.get(name)?.value, value);
    if (problem !== undefined) {
      this.#options.onBroken("Receipt", problem);
      throw new Error(problem);
    }
    const stored = { value, version: this.#nextVersion() };
    this.statements.set(name, stored);
    return stored;
  }
}

function fallenTotals(before: PodUsageStatus | undefined, after: PodUsageStatus): string[] {
  const totals = new Map(after.totals.map(({ dimension, total }) => [dimension, BigInt(total)]));
  const fallen = (before?.totals ?? []).filter(
    ({ dimension, total }) => (totals.get(dimension) ?? -1n) < BigInt(total),
  );
  const names = fallen.map(({ dimension }) => dimension);
  return BigInt(after.sequence) < BigInt(before?.sequence ?? "0") ? [...names, "sequence"] : names;
}

function ledgerProblem(before: Ledger | undefined, after: Ledger): string | undefined {
  if (!before) return undefined;
  if (BigInt(after.revision) <= BigInt(before.revision)) return "the ledger's revision must rise";
  if (after.settled === before.settled) return undefined;
  const now = new Map(after.settled.map((entry) => [`${entry.agent} ${entry.dimension}`, BigInt(entry.total)]));
  const fallen = before.settled.find(
    (entry) => (now.get(`${entry.agent} ${entry.dimension}`) ?? -1n) < BigInt(entry.total),
  );
  return fallen ? `settled ${fallen.dimension} of ${fallen.agent} must not fall` : undefined;
}

function statementProblem(before: Statement | undefined, after: Statement): string | undefined {
  const name = `${after.intent.hour} ${after.intent.dimension}`;
  if (before && before.intent !== after.intent && JSON.stringify(before.intent) !== JSON.stringify(after.intent))
    return `the intent of ${name} must not change`;
  if (before?.outcome && JSON.stringify(before.outcome) !== JSON.stringify(after.outcome))
    return `the outcome of ${name} must be written once`;
  return receiptProblem(after, name);
}

/** shares == quantity × divisor, and shares + adjustment == accepted. */
function receiptProblem({ intent, outcome }: Statement, name: string): string | undefined {
  const shares = intent.shares.reduce((sum, share) => sum + BigInt(share.baseUnits), 0n);
  if (shares !== BigInt(intent.quantity) * BigInt(intent.divisor))
    return `the shares of ${name} are ${shares}, the intent is ${intent.quantity} × ${intent.divisor}`;
  if (outcome && shares + BigInt(outcome.adjustmentBaseUnits) !== BigInt(outcome.acceptedBaseUnits))
    return `the receipt of ${name} does not add up`;
  return undefined;
}

function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) freeze(part);
  return Object.freeze(value);
}
