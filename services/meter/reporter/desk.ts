import type { Grants, PodUsage } from "#core/api/pod-usage.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import type { Intent, Statement } from "#core/api/usage-statement.ts";
import type { Limit } from "#core/leases.ts";
import { sealLedger, type Slot } from "#core/ledger.ts";
import type { LateUsage } from "#core/late-usage.ts";
import type { Alarm, PostAnswer } from "#core/outcome.ts";
import type { Catalogue, Plan } from "#core/plan.ts";
import type { Finding, Waiting } from "#core/problems.ts";
import type { RingWanted } from "#core/ring.ts";
import type { RetentionTerms } from "#core/retention.ts";
import type { Logger } from "#runtime/log.ts";

/** An object as it was read; the version is what a compare-and-swap needs. */
export interface Versioned<T> {
  readonly value: T;
  readonly version: string;
}

/** The money objects. Calls throw on anything but success and the named refusals: a failed read is never "nothing there". */
export interface Books {
  readLedger(): Promise<Versioned<Ledger> | undefined>;
  createLedger(ledger: Ledger): Promise<Versioned<Ledger> | "Conflict">;
  writeLedger(ledger: Versioned<Ledger>): Promise<Versioned<Ledger> | "Conflict">;
  readStatement(slot: Slot): Promise<Versioned<Statement> | undefined>;
  createStatement(statement: Statement): Promise<Versioned<Statement> | "Conflict">;
  writeStatement(statement: Versioned<Statement>): Promise<Versioned<Statement> | "Conflict">;
  listStatements(): Promise<Statement[]>;
  /** Deletes exactly the version that was read. */
  deleteStatement(statement: Versioned<Statement>): Promise<"Deleted" | "Changed">;
  /** Every PodUsage of the offer resource; of their rings what is wanted, and perhaps more. */
  listPodUsages(wanted?: RingWanted): Promise<PodUsage[]>;
  isPodGone(object: PodUsage): Promise<boolean>;
  /** Deletes exactly the version that was read. */
  deletePodUsage(object: PodUsage): Promise<"Deleted" | "Changed">;
  /** Writes exactly onto the version that was read: a leader that was replaced meanwhile must lose. */
  applyGrants(object: PodUsage, grants: Grants): Promise<"Written" | "Changed" | "Gone">;
}

export interface UsageRow {
  /** YYYYMMDD in UTC. */
  readonly day: string;
  readonly usageResourceId: string;
  readonly dimension: string;
  readonly planId: string;
  /** Submitted units as plain decimal digits. */
  readonly quantity: string;
  /** Units that Azure has processed. */
  readonly processed: string;
  /** Azure's word; unknown ones must pass. */
  readonly reconStatus: string;
}

export type ListAnswer =
  | {
      readonly ok: true;
      readonly rows: readonly UsageRow[];
      /** Azure's clock as it answered. */
      readonly dateMs?: number | undefined;
    }
  | {
      readonly ok: false;
      readonly refused: boolean;
      /** No token could be had: nothing was asked. */
      readonly noCredential?: boolean;
      readonly message: string;
    };

/** The metering API. Neither call throws: what went wrong is an answer. */
export interface Marketplace {
  /** One answer per intent, in their order; at most 25. */
  post(intents: readonly Intent[]): Promise<readonly PostAnswer[]>;
  /** From a UTC day (YYYYMMDD) up to today. */
  list(sinceDay: string): Promise<ListAnswer>;
}

/** What was sold, and how this process was set up. Fixed for its life. */
export interface Terms {
  readonly mode: Ledger["mode"];
  readonly offerResourceId: string;
  readonly planId: string;
  readonly plan: Plan | undefined;
  readonly catalogue: Catalogue;
  readonly catalogueDigest: string;
  readonly checkpointSeconds: number;
  readonly grantLifeSeconds: number;
  readonly reconcileRequired: boolean;
  /** R10: what becomes of usage that Azure did not take within 24 h. */
  readonly lateUsage: LateUsage;
  readonly retention: RetentionTerms;
}

/** A slot that waits for its answer. */
export interface Retry extends Waiting {
  readonly notBeforeMs: number;
}

/** What a leader remembers between cycles; lost with it, and nothing of it is money. */
export interface Memory {
  /** This leader's term, once it has written the ledger. */
  term: number | undefined;
  /** Azure's list was compared since this leader began: new intents are allowed (R6). */
  reconciled: boolean;
  /** Azure's list was compared at least once since this leader began. */
  compared: boolean;
  /** The newest revision seen; a smaller one later means that the ledger was restored. */
  revision: bigint;
  /** Slots by key that have no definite answer yet: since when, why, and when to try again. */
  readonly retries: Map<string, Retry>;
  /** Keys of slots whose UsageStatement is known to exist. */
  readonly stored: Set<string>;
  /** Azure judged our clock wrong: nothing is closed before this instant. */
  clockFaultUntilMs: number;
  /** Since when pods can know the time that we see (an offset may have jumped). */
  timeKnownSinceMs: number;
  /** Why Azure's list was not compared. */
  listProblem: Finding | undefined;
  /** How often Azure's list was asked in a row without settling the matter, and when it may be asked again. */
  list: { readonly attempts: number; readonly notBeforeMs: number };
  /** When somebody else's event was last found; 0 for never. */
  foreignMs: number;
  /** The comparison of D + 2 is not tried again before this instant. */
  compareNotBeforeMs: number;
  readonly leases: {
    /** Our term is above that of every grant written before us. */
    isTermHeld: boolean;
    /** Pods whose last ceiling may or may not have been written: nobody gets more before they are stamped again. */
    readonly doubts: Set<string>;
    /** Hard limits of the plan and what is used of them, as of the last cycle that planned leases; nothing before it. */
    limits: readonly Limit[] | undefined;
  };
  readonly retention: {
    /** When all statements are looked at again. */
    lookAtMs: number;
    /** The released months at the last look. */
    released: string;
    /** Slots whose statements may go, oldest first. */
    due: Slot[];
    /** Statements old enough to go whose month nobody has exported and released. */
    awaitingExport: number;
  };
}

/** Everything the steps of a cycle work with. */
export interface Desk {
  readonly books: Books;
  readonly marketplace: Marketplace;
  readonly terms: Terms;
  readonly memory: Memory;
  readonly now: () => number;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: Pick<Logger, "info" | "warn" | "error" | "debug">;
  readonly onPost?: (answer: PostAnswer, alarm: Alarm | undefined) => void;
  readonly onList?: (answer: ListAnswer) => void;
  readonly onAccepted?: (slot: Slot, units: number) => void;
}

/** A new leader's memory. */
export function createMemory(): Memory {
  return {
    term: undefined,
    reconciled: false,
    compared: false,
    revision: 0n,
    retries: new Map(),
    stored: new Set(),
    clockFaultUntilMs: 0,
    timeKnownSinceMs: 0,
    listProblem: undefined,
    list: { attempts: 0, notBeforeMs: 0 },
    foreignMs: 0,
    compareNotBeforeMs: 0,
    leases: { isTermHeld: false, doubts: new Set(), limits: undefined },
    retention: { lookAtMs: 0, released: "", due: [], awaitingExport: 0 },
  };
}

/**
 * Seals the next ledger and swaps it in. Nothing when another writer was first. Remembers the revision: an older one
 * found later means a restored ledger.
 */
export async function trySwapLedger(desk: Desk, next: Versioned<Ledger>): Promise<Versioned<Ledger> | undefined> {
  const written = await desk.books.writeLedger({ value: sealLedger(next.value), version: next.version });
  if (written === "Conflict") return undefined;
  desk.memory.revision = BigInt(written.value.revision);
  return written;
}

/** Swaps the ledger or ends the cycle with a ConflictError. */
export async function swapLedger(desk: Desk, next: Versioned<Ledger>): Promise<Versioned<Ledger>> {
  const written = await trySwapLedger(desk, next);
  if (!written) throw new ConflictError("UsageLedger");
  return written;
}

/** The ledger changed under us: this cycle ends, the next reads again. */
export class ConflictError extends Error {
  constructor(what: string) {
    super(`Cannot write ${what} as another writer was first`);
    this.name = "ConflictError";
  }
}
