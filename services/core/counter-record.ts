import { z } from "zod";
import { crc32c } from "./crc32c.ts";

/**
 * The counter file of `metering.md`: two fixed slots written in turn, each a sequence, a JSON payload and a CRC32C.
 * A start takes the newest valid one; a torn write leaves the older. Pure: bytes in, record out.
 */
export const COUNTER_SLOT_BYTES = 8192;

const countText = z.string().regex(/^(0|[1-9][0-9]{0,17})$/);

const recordSchema = z.object({
  /** Rises by one at every write. */
  sequence: z.int().min(0),
  /** One life of the counters. */
  epoch: z.string().min(1).max(64),
  /** /proc/sys/kernel/random/boot_id at the write: another boot may have lost the page cache. */
  bootId: z.string().max(64),
  totals: z.record(z.string(), countText),
  /** The journal row up to which `totals` holds every count; 0 where there is no journal. */
  journalSequence: z.int().min(0),
  /** What the service runs with, for the enforcement echo. */
  configDigest: z.string().max(64),
  controlDigest: z.string().max(64),
  /** The mode of control.json that the service applies; empty before the first control. */
  mode: z.string().max(16).default(""),
  /** Applied ceilings and what is held for calls in flight, per dimension. */
  leases: z.record(z.string(), z.object({ applied: countText, held: countText })),
});
export type CounterRecord = z.output<typeof recordSchema>;

/** The bytes to write at the start of a slot; what an older record left behind them means nothing. Throws when the record does not fit: the label set must be bounded. */
export function encodeCounterSlot(record: CounterRecord): Uint8Array {
  const payload = new TextEncoder().encode(JSON.stringify(record));
  if (payload.length > COUNTER_SLOT_BYTES - 8)
    throw new Error(
      `Cannot store counters as the record must be at most ${COUNTER_SLOT_BYTES - 8} bytes: current size is ${payload.length}`,
    );
  const slot = new Uint8Array(8 + payload.length);
  const view = new DataView(slot.buffer);
  view.setUint32(0, payload.length);
  view.setUint32(4, crc32c(payload));
  slot.set(payload, 8);
  return slot;
}

/** The newest valid record of a counter file, or nothing when no slot is whole. Never throws. */
export function decodeCounterFile(bytes: Uint8Array): CounterRecord | undefined {
  const records = [0, COUNTER_SLOT_BYTES]
    .map((offset) => decodeSlot(bytes.subarray(offset, offset + COUNTER_SLOT_BYTES)))
    .filter((record) => record !== undefined);
  return records.sort((a, b) => b.sequence - a.sequence)[0];
}

function decodeSlot(slot: Uint8Array): CounterRecord | undefined {
  if (slot.length < 8) return undefined;
  const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength);
  const length = view.getUint32(0);
  if (length === 0 || length > slot.length - 8) return undefined;
  const payload = slot.subarray(8, 8 + length);
  if (crc32c(payload) !== view.getUint32(4)) return undefined;
  try {
    const parsed = recordSchema.safeParse(JSON.parse(new TextDecoder().decode(payload)));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
