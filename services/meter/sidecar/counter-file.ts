import { readFileSync } from "node:fs";
import { type CounterRecord, decodeCounterFile } from "#core/counter-record.ts";
import { applyReading, type SidecarState } from "#core/sidecar-fold.ts";

/** A file that cannot be read, or is just being written, is read again so often. */
const READS_MAX = 3;

/** The newest whole record of the service's counter file; nothing when there is none yet. Never throws. */
export function readCounterFile(file: string): CounterRecord | undefined {
  const record = tryRead(file);
  return record === "Unreadable" ? undefined : record;
}

/** A record's counters as a reading of the fold. */
export function countersOf(record: CounterRecord): ReadonlyMap<string, bigint> {
  return new Map(Object.entries(record.totals).map(([dimension, total]) => [dimension, BigInt(total)]));
}

/** A pod's last state, and the record that went into it. */
export interface LastFold {
  readonly state: SidecarState;
  readonly record: CounterRecord | undefined;
  /** False when there is a file that nobody could read: units may stand in it that no scrape has seen. */
  readonly isWhole: boolean;
}

/** The state with all that the service's file says, once nobody writes it any more. A file behind the scrapes adds nothing. */
export function foldLastRecord(file: string, state: SidecarState): LastFold {
  let last: ReturnType<typeof tryRead>;
  for (let reads = 0; reads < READS_MAX; reads += 1) {
    last = tryRead(file);
    if (last === "Unreadable") continue;
    if (!last) return { state, record: undefined, isWhole: true };
    const result = applyReading(state, { epoch: last.epoch, counters: countersOf(last), source: "File" });
    if (result.ok) return { state: result.state, record: last, isWhole: true };
  }
  return last === "Unreadable" ? { state, record: undefined, isWhole: false } : { state, record: last, isWhole: true };
}

function tryRead(file: string): CounterRecord | "Unreadable" | undefined {
  try {
    return decodeCounterFile(readFileSync(file));
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    return isMissing ? undefined : "Unreadable";
  }
}
