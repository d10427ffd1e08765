import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { COUNTER_SLOT_BYTES, decodeCounterFile } from "#core/counter-record.ts";
import { type CounterOptions, openCounters } from "./counters.ts";

let folder: string;
let options: CounterOptions;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "counters-"));
  options = { file: join(folder, "counters"), dimensions: ["input_tokens", "output_tokens"], bootId: "boot-1" };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("openCounters()", () => {
  it("begins at zero, with every dimension shown, and keeps totals and epoch over a restart", () => {
    const first = openCounters(options);
    expect(first.exposition()).toContain('supercargo_usage_total{dimension="output_tokens"} 0\n');
    first.count({ input_tokens: 5n, tool_action: 1n });
    first.close();
    const second = openCounters(options);
    second.count({ input_tokens: 2n });
    expect(second.epoch).toBe(first.epoch);
    expect([second.total("input_tokens"), second.total("tool_action"), second.total("nothing")]).toEqual([7n, 1n, 0n]);
    second.close();
  });

  it("begins a new epoch at zero after a reboot of the node, with a sequence that goes on", () => {
    const first = openCounters(options);
    first.count({ input_tokens: 5n });
    first.close();
    const before = decodeCounterFile(readFileSync(options.file))?.sequence ?? 0;
    const second = openCounters({ ...options, bootId: "boot-2" });
    expect(second.epoch).not.toBe(first.epoch);
    expect(second.total("input_tokens")).toBe(0n);
    expect(decodeCounterFile(readFileSync(options.file))?.sequence).toBeGreaterThan(before);
    second.close();
  });

  it("has every count in the file before count() returns", () => {
    const counters = openCounters(options);
    fc.assert(
      fc.property(fc.bigInt(0n, 1000n), fc.bigInt(0n, 1000n), (input, output) => {
        counters.count({ input_tokens: input, output_tokens: output });
        const stored = decodeCounterFile(readFileSync(options.file));
        expect(stored?.totals["input_tokens"]).toBe(counters.total("input_tokens").toString());
        expect(stored?.totals["output_tokens"]).toBe(counters.total("output_tokens").toString());
      }),
      { numRuns: 200 },
    );
    counters.close();
  });

  it("falls back by at most one count when the newest slot is torn, and goes on from there", () => {
    const counters = openCounters(options);
    counters.count({ input_tokens: 10n });
    counters.count({ input_tokens: 20n });
    counters.close();
    const bytes = readFileSync(options.file);
    const newest = ((decodeCounterFile(bytes)?.sequence ?? 0) % 2) * COUNTER_SLOT_BYTES;
    bytes.fill(0x20, newest + 40, newest + 60);
    writeFileSync(options.file, bytes);
    const again = openCounters(options);
    expect(again.total("input_tokens")).toBe(10n);
    again.count({ input_tokens: 1n });
    again.close();
    expect(decodeCounterFile(readFileSync(options.file))?.totals["input_tokens"]).toBe("11");
  });

  it("begins anew when no slot is whole", () => {
    writeFileSync(options.file, "garbage");
    const counters = openCounters(options);
    expect(counters.total("input_tokens")).toBe(0n);
    counters.close();
    expect(decodeCounterFile(readFileSync(options.file))?.epoch).toBe(counters.epoch);
  });

  it("keeps the journal's row beside the counts, and never lets it fall", () => {
    const counters = openCounters(options);
    counters.count({ tool_action: 1n }, 7);
    counters.count({ tool_action: 1n }, 5);
    expect(counters.journalSequence).toBe(7);
    counters.close();
    expect(openCounters(options).journalSequence).toBe(7);
  });

  it("stores what is in force at once when it changed, and writes nothing when it did not", () => {
    const counters = openCounters(options);
    const state = { configDigest: "a", controlDigest: "b", mode: "Paused", leases: {} };
    counters.echo(state);
    const stored = decodeCounterFile(readFileSync(options.file));
    expect(stored).toMatchObject(state);
    counters.echo(state);
    expect(decodeCounterFile(readFileSync(options.file))?.sequence).toBe(stored?.sequence);
    counters.close();
  });

  it("stages several units for one write: in the totals at once, in file and exposition when committed", () => {
    const counters = openCounters(options);
    const sequence = (): number => decodeCounterFile(readFileSync(options.file))?.sequence ?? 0;
    const before = sequence();
    counters.stage({ input_tokens: 2n });
    counters.stage({ input_tokens: 3n, output_tokens: 1n });
    expect(counters.total("input_tokens")).toBe(5n);
    expect(counters.exposition()).toContain('supercargo_usage_total{dimension="input_tokens"} 0\n');
    counters.count({ output_tokens: 10n });
    expect(decodeCounterFile(readFileSync(options.file))?.totals["output_tokens"]).toBe("10");
    counters.commit();
    counters.commit();
    expect(sequence()).toBe(before + 2);
    expect(decodeCounterFile(readFileSync(options.file))?.totals).toEqual({ input_tokens: "5", output_tokens: "11" });
    expect(() => counters.stage({ input_tokens: 1n, output_tokens: -1n })).toThrow("must be >= 0");
    expect(counters.total("input_tokens")).toBe(5n);
    counters.close();
  });

  it("counts nothing of what was staged when it cannot be committed, and does not try it again", () => {
    const counters = openCounters(options);
    counters.close();
    counters.stage({ input_tokens: 7n });
    expect(() => counters.commit()).toThrow(/EBADF/);
    expect(counters.total("input_tokens")).toBe(0n);
    expect(() => counters.commit()).not.toThrow();
  });

  it.each([
    [
      "a negative amount",
      { input_tokens: -1n },
      "Cannot count usage as input_tokens must be >= 0: current value is -1",
    ],
    ["a name that is no dimension", { 'x"} 1': 1n }, /a dimension must match .* current value is x"} 1/],
    ["more than 18 digits", { input_tokens: 10n ** 18n }, "input_tokens must be at most 999999999999999999"],
    [
      "a 33rd dimension",
      Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`d${i}`, 1n])),
      "at most 32 dimensions",
    ],
  ])("refuses %s and changes nothing", (_, usage, message) => {
    const counters = openCounters(options);
    counters.count({ input_tokens: 3n });
    const before = readFileSync(options.file);
    expect(() => counters.count(usage)).toThrow(message);
    expect(readFileSync(options.file)).toEqual(before);
    expect(counters.total("input_tokens")).toBe(3n);
    counters.close();
  });

  it("throws, and counts nothing, when the file cannot be written", () => {
    // The kernel's own full disk.
    expect(() => openCounters({ ...options, file: "/dev/full" })).toThrow(/ENOSPC|EINVAL|EACCES/);
    const counters = openCounters(options);
    counters.close();
    expect(() => counters.count({ input_tokens: 1n })).toThrow(/EBADF/);
    expect(counters.total("input_tokens")).toBe(0n);
  });
});

describe("a process that is killed while it counts", () => {
  it("has lost nothing that count() had returned for, at any moment of kill -9", async () => {
    let expected = 0n;
    for (const killAfter of [1, 7, 50]) {
      const acknowledged = await countUntilKilled(options.file, killAfter);
      const stored = BigInt(decodeCounterFile(readFileSync(options.file))?.totals["input_tokens"] ?? "0");
      // One more may have been written and not yet told.
      expect(stored - expected).toBeGreaterThanOrEqual(acknowledged);
      expect(stored - expected).toBeLessThanOrEqual(acknowledged + 1n);
      expected = stored;
    }
  });
});

/** Runs a child that counts 1 and tells its total after each count; kills it after `lines` lines and reads what it had told. */
async function countUntilKilled(file: string, lines: number): Promise<bigint> {
  const script = `
    const { openCounters } = await import(process.argv[1]);
    const counters = openCounters({ file: process.argv[2], dimensions: [], bootId: "boot-1" });
    const start = counters.total("input_tokens");
    const { writeSync } = await import("node:fs");
    for (;;) {
      counters.count({ input_tokens: 1n });
      writeSync(1, (counters.total("input_tokens") - start) + "\\n");
    }`;
  const module = new URL("counters.ts", import.meta.url).href;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script, module, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let newest = 0n;
  let seen = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (/^\d+$/.test(line)) newest = BigInt(line);
    seen += 1;
    if (seen === lines) child.kill("SIGKILL");
  }
  return newest;
}
