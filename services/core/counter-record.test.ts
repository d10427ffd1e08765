import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { COUNTER_SLOT_BYTES, type CounterRecord, decodeCounterFile, encodeCounterSlot } from "./counter-record.ts";

function record(sequence: number, total: bigint): CounterRecord {
  return {
    sequence,
    epoch: "e1",
    bootId: "b1",
    totals: { input_tokens: total.toString(), output_tokens: (total * 3n).toString() },
    journalSequence: sequence,
    configDigest: "c".repeat(64),
    controlDigest: "d".repeat(64),
    mode: "Running",
    leases: { input_tokens: { applied: "900", held: "7" } },
  };
}

/** A file as two writes leave it. */
function fileOf(older: CounterRecord, newer: CounterRecord): Uint8Array {
  const file = new Uint8Array(2 * COUNTER_SLOT_BYTES);
  for (const each of [older, newer]) file.set(encodeCounterSlot(each), (each.sequence % 2) * COUNTER_SLOT_BYTES);
  return file;
}

const states = fc
  .tuple(fc.nat(1_000_000), fc.bigInt(0n, 10n ** 15n), fc.bigInt(1n, 10n ** 12n))
  .map(([sequence, total, added]) => ({ older: record(sequence, total), newer: record(sequence + 1, total + added) }));

describe("a counter file", () => {
  it("gives back the newer of its two records", () => {
    fc.assert(
      fc.property(states, ({ older, newer }) => {
        expect(decodeCounterFile(fileOf(older, newer))).toEqual(newer);
      }),
    );
  });

  it("never gives more than was counted, whichever bits flip or bytes are cut: a valid state or nothing", () => {
    const damage = fc.oneof(
      fc.record({
        kind: fc.constant("flip" as const),
        bits: fc.array(fc.nat(2 * COUNTER_SLOT_BYTES * 8 - 1), { minLength: 1, maxLength: 4 }),
      }),
      // Most flips in zeros prove nothing: these strike the used part of either slot.
      fc.record({
        kind: fc.constant("flip" as const),
        bits: fc.array(
          fc.tuple(fc.nat(1), fc.nat(600 * 8)).map(([slot, bit]) => slot * COUNTER_SLOT_BYTES * 8 + bit),
          { minLength: 1, maxLength: 4 },
        ),
      }),
      fc.record({
        kind: fc.constant("cut" as const),
        bits: fc.array(fc.nat(2 * COUNTER_SLOT_BYTES), { minLength: 1, maxLength: 1 }),
      }),
    );
    fc.assert(
      fc.property(states, damage, ({ older, newer }, { kind, bits }) => {
        const file = fileOf(older, newer);
        for (const bit of kind === "flip" ? bits : []) file[bit >> 3] = (file[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const found = decodeCounterFile(kind === "cut" ? file.subarray(0, bits[0]) : file);
        if (found !== undefined) expect([older, newer]).toContainEqual(found);
      }),
      { numRuns: 3000 },
    );
  });

  it("survives a write that is torn at any byte: the state before it stays", () => {
    fc.assert(
      fc.property(states, fc.nat(COUNTER_SLOT_BYTES - 1), ({ older, newer }, at) => {
        const next = encodeCounterSlot(record(newer.sequence + 1, 10n ** 16n));
        const file = fileOf(older, newer);
        file.set(next.subarray(0, at), ((newer.sequence + 1) % 2) * COUNTER_SLOT_BYTES);
        const found = decodeCounterFile(file);
        // Behind the payload all bytes are zeros in both: a tear there has torn nothing.
        if (found?.sequence !== newer.sequence + 1) expect(found).toEqual(newer);
      }),
    );
  });

  it.each([
    ["nothing", new Uint8Array(0)],
    ["zeros", new Uint8Array(2 * COUNTER_SLOT_BYTES)],
    ["ones", new Uint8Array(2 * COUNTER_SLOT_BYTES).fill(0xff)],
    ["a length beyond the slot", Uint8Array.from([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1])],
  ])("of %s holds no record", (_, bytes) => {
    expect(decodeCounterFile(bytes)).toBeUndefined();
  });

  it("refuses whole records that are no counters, though their checksum is right", () => {
    const bad = { ...record(5, 1n), totals: { input_tokens: "-1" } };
    expect(decodeCounterFile(encodeCounterSlot(bad))).toBeUndefined();
  });

  it("holds the largest label set there may be", () => {
    const names = Array.from({ length: 32 }, (_, index) => `d${String(index).padStart(2, "0")}`.padEnd(63, "x"));
    const largest = {
      ...record(Number.MAX_SAFE_INTEGER, 1n),
      epoch: "e".repeat(64),
      bootId: "b".repeat(64),
      mode: "Constrained",
      journalSequence: Number.MAX_SAFE_INTEGER,
      totals: Object.fromEntries(names.map((name) => [name, "9".repeat(18)])),
      leases: Object.fromEntries(names.map((name) => [name, { applied: "9".repeat(18), held: "9".repeat(18) }])),
    };
    expect(decodeCounterFile(encodeCounterSlot(largest))).toEqual(largest);
  });

  it("says so when a record does not fit", () => {
    const tooMany = {
      ...record(1, 1n),
      totals: Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`dimension_${i}`, "1"])),
    };
    expect(() => encodeCounterSlot(tooMany)).toThrow(
      /Cannot store counters as the record must be at most 8184 bytes: current size is \d+/,
    );
  });

  it("reads a record that knew no mode yet", () => {
    const { mode: _, ...old } = record(3, 4n);
    const slot = encodeCounterSlot({ ...old, mode: "" });
    expect(decodeCounterFile(slot)).toMatchObject({ mode: "", sequence: 3 });
  });
});
