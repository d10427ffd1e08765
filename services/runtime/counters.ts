import { randomUUID } from "node:crypto";
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { COUNTER_SLOT_BYTES, type CounterRecord, decodeCounterFile, encodeCounterSlot } from "#core/counter-record.ts";
import { EPOCH_METRIC, USAGE_METRIC } from "#core/usage.ts";

/** Dimensions of one file: a bound on the label set of the family that money is read from. */
const DIMENSIONS_MAX = 32;

export interface CounterOptions {
  readonly file: string;
  /** Dimensions that show from the start with 0; others may be added by `count` up to 32. */
  readonly dimensions: readonly string[];
  /** Identity of this boot of the node; a file of another boot starts a new epoch. */
  readonly bootId: string;
}

/** Counters that survive a crash of their process: every change is in the file before `count` returns. */
export interface Counters {
  readonly epoch: string;
  /** The journal row that the totals hold, as restored or last stored. */
  readonly journalSequence: number;
  /**
   * Adds usage and stores it, all dimensions in one write. Call it before the unit is answered.
   * `journalSequence` is the row of the fact, where a journal exists. Throws when the file cannot be written: do not answer then.
   */
  count(usage: Readonly<Record<string, bigint>>, journalSequence?: number): void;
  /**
   * Adds usage to what the next `commit` stores: several units in one write. `total` has it at once, the file and the exposition
   * not yet. Throws for an amount or a name that cannot be counted; nothing is staged then.
   */
  stage(usage: Readonly<Record<string, bigint>>): void;
  /** Stores what is staged. Call it before those units are answered. Throws when it cannot; then none of them is counted. */
  commit(): void;
  /** Counted and staged. */
  total(dimension: string): bigint;
  /** What the file counts now. */
  readonly dimensions: readonly string[];
  /** Records what the service runs with; stored with the next write, at once if it changed. */
  echo(state: Pick<CounterRecord, "configDigest" | "controlDigest" | "mode" | "leases">): void;
  /** The metered series in Prometheus text: the file's own numbers, with the epoch. */
  exposition(): string;
  close(): void;
}

/** Opens or creates the counter file. Page cache survives a process crash, so nothing is fsynced (docs/metering.md). */
export function openCounters(options: CounterOptions): Counters {
  // Read and write, created if absent, never truncated.
  const handle = openSync(options.file, constants.O_RDWR | constants.O_CREAT, 0o644);
  let record = restore(readRecord(handle), options);

  let staged = new Map<string, bigint>();

  const store = (next: CounterRecord): void => {
    const slot = encodeCounterSlot(next);
    const written = writeSync(handle, slot, 0, slot.length, (next.sequence % 2) * COUNTER_SLOT_BYTES);
    // A full disk may take a part. The other slot still holds the state before, and the next write goes to this one again.
    if (written !== slot.length)
      throw new Error(`Cannot store counters as ${slot.length} bytes must be written: current size is ${written}`);
    record = next;
  };
  store({ ...record, sequence: record.sequence + 1 });

  const count = (usage: Iterable<readonly [string, bigint]>, journalSequence: number): void => {
    const totals = { ...record.totals };
    for (const [dimension, amount] of usage) totals[dimension] = add(totals[dimension], dimension, amount);
    if (Object.keys(totals).length > DIMENSIONS_MAX)
      throw new Error(`Cannot count usage as there must be at most ${DIMENSIONS_MAX} dimensions`);
    const sequence = record.sequence + 1;
    store({ ...record, sequence, totals, journalSequence: Math.max(record.journalSequence, journalSequence) });
  };

  return {
    epoch: record.epoch,
    get journalSequence() {
      return record.journalSequence;
    },
    count: (usage, journalSequence) => count(Object.entries(usage), journalSequence ?? 0),
    stage(usage) {
      for (const dimension in usage) check(dimension, usage[dimension] ?? 0n);
      for (const dimension in usage) staged.set(dimension, (staged.get(dimension) ?? 0n) + (usage[dimension] ?? 0n));
    },
    commit() {
      if (staged.size === 0) return;
      const usage = staged;
      staged = new Map();
      count(usage, 0);
    },
    get dimensions() {
      return Object.keys(record.totals);
    },
    total: (dimension) => BigInt(record.totals[dimension] ?? "0") + (staged.get(dimension) ?? 0n),
    echo(state) {
      const next = { ...record, ...state, sequence: record.sequence + 1 };
      if (JSON.stringify({ ...next, sequence: 0 }) !== JSON.stringify({ ...record, sequence: 0 })) store(next);
    },
    exposition: () => renderExposition(record),
    close: () => closeSync(handle),
  };
}

/** The boot id of this node, or a constant where the kernel does not tell. */
export function readBootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "unknown";
  }
}

/** What the record and every reader of it can hold: 18 digits. */
const TOTAL_MAX = 999_999_999_999_999_999n;
const DIMENSION = /^[a-z][a-z0-9_]{0,62}$/;

function add(total: string | undefined, dimension: string, amount: bigint): string {
  check(dimension, amount);
  const sum = BigInt(total ?? "0") + amount;
  if (sum > TOTAL_MAX) throw new Error(`Cannot count usage as ${dimension} must be at most ${TOTAL_MAX}`);
  return sum.toString();
}

function check(dimension: string, amount: bigint): void {
  if (amount < 0n) throw new Error(`Cannot count usage as ${dimension} must be >= 0: current value is ${amount}`);
  if (!DIMENSION.test(dimension))
    throw new Error(`Cannot count usage as a dimension must match ${DIMENSION.source}: current value is ${dimension}`);
}

function restore(stored: CounterRecord | undefined, options: CounterOptions): CounterRecord {
  const zeros = Object.fromEntries(options.dimensions.map((dimension) => [dimension, "0"]));
  if (stored?.bootId === options.bootId) return { ...stored, totals: { ...zeros, ...stored.totals } };
  return {
    sequence: stored?.sequence ?? 0,
    epoch: randomUUID(),
    bootId: options.bootId,
    totals: zeros,
    journalSequence: stored?.journalSequence ?? 0,
    configDigest: "",
    controlDigest: "",
    mode: "",
    leases: {},
  };
}

function readRecord(handle: number): CounterRecord | undefined {
  const bytes = Buffer.alloc(2 * COUNTER_SLOT_BYTES);
  const size = readSync(handle, bytes, 0, bytes.length, 0);
  return decodeCounterFile(bytes.subarray(0, size));
}

function renderExposition(record: CounterRecord): string {
  const lines = [
    `# HELP ${EPOCH_METRIC} The life of the metered counters.`,
    `# TYPE ${EPOCH_METRIC} gauge`,
    `${EPOCH_METRIC}{epoch="${record.epoch}"} 1`,
    `# HELP ${USAGE_METRIC} Metered usage in base units, over all lives of the process in this epoch.`,
    `# TYPE ${USAGE_METRIC} counter`,
    ...Object.entries(record.totals).map(([dimension, total]) => `${USAGE_METRIC}{dimension="${dimension}"} ${total}`),
  ];
  return `${lines.join("\n")}\n`;
}
