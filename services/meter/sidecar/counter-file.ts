import { readFileSync } from "node:fs";
import { type CounterRecord, decodeCounterFile } from "#core/counter-record.ts";

/** The newest whole record of the service's counter file; nothing when there is none yet. Never throws. */
export function readCounterFile(file: string): CounterRecord | undefined {
  try {
    return decodeCounterFile(readFileSync(file));
  } catch {
    return undefined;
  }
}

/** A record's counters as a reading of the fold. */
export function countersOf(record: CounterRecord): ReadonlyMap<string, bigint> {
  return new Map(Object.entries(record.totals).map(([dimension, total]) => [dimension, BigInt(total)]));
}
