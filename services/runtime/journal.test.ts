import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openJournal, readRecords } from "./journal.ts";

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "journal-"));
  file = join(folder, "deep", "usage.log");
});
afterEach(() => rmSync(folder, { recursive: true }));

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (payload: Uint8Array | undefined): string | undefined =>
  payload === undefined ? undefined : new TextDecoder().decode(payload);

function write(...payloads: readonly string[]): void {
  const journal = openJournal({ file });
  for (const payload of payloads) journal.append(bytes(payload));
  journal.close();
}

describe("openJournal()", () => {
  it("starts new, then gives back the newest record", () => {
    const journal = openJournal({ file });
    expect([journal.newest, journal.condition]).toEqual([undefined, "New"]);
    journal.append(bytes("one"));
    journal.append(bytes("two"));
    journal.close();
    const again = openJournal({ file });
    expect([text(again.newest), again.condition]).toEqual(["two", "Whole"]);
    again.append(bytes("three"));
    again.close();
    expect(text(openJournal({ file }).newest)).toBe("three");
  });

  it("cuts a torn tail and goes on behind it", () => {
    write("one", "two");
    appendFileSync(file, new Uint8Array([0, 0, 0, 9, 1, 2]));
    const journal = openJournal({ file });
    expect([text(journal.newest), journal.condition]).toEqual(["two", "Torn"]);
    journal.append(bytes("three"));
    journal.close();
    const again = openJournal({ file });
    expect([text(again.newest), again.condition]).toEqual(["three", "Whole"]);
  });

  it("trusts nothing behind or before a bad record in the middle", () => {
    write("one", "two", "three");
    const content = readFileSync(file);
    content[11 + 8 + 1] = 0x78;
    writeFileSync(file, content);
    expect(openJournal({ file })).toMatchObject({ newest: undefined, condition: "Damaged" });
  });

  it("keeps the file within its bound, with the newest record in it", () => {
    const journal = openJournal({ file, bytesMax: 1000 });
    for (let n = 0; n < 500; n += 1) journal.append(bytes(`record ${n}`));
    journal.close();
    expect(statSync(file).size).toBeLessThanOrEqual(1000);
    expect(existsSync(`${file}.tmp`)).toBe(false);
    expect(text(openJournal({ file }).newest)).toBe("record 499");
  });

  it("survives a temporary file that a crash left behind", () => {
    write("one");
    writeFileSync(`${file}.tmp`, "half");
    expect(text(openJournal({ file }).newest)).toBe("one");
  });

  it("goes on after a rewrite that failed, and never writes to the number of a closed file", () => {
    const journal = openJournal({ file, bytesMax: 20 });
    journal.append(bytes("one"));
    mkdirSync(`${file}.tmp`);
    expect(() => journal.append(bytes("another"))).toThrow(/EISDIR/);
    const innocent = openSync(join(folder, "innocent"), "w");
    expect(() => journal.append(bytes("another"))).toThrow(/EISDIR/);
    expect(readFileSync(join(folder, "innocent"))).toHaveLength(0);
    closeSync(innocent);
    expect(text(openJournal({ file }).newest)).toBe("one");
    rmSync(`${file}.tmp`, { recursive: true });
    journal.append(bytes("a third"));
    journal.close();
    journal.close();
    const again = openJournal({ file });
    expect([text(again.newest), again.condition]).toEqual(["a third", "Whole"]);
  });

  it.each([0, 1024 * 1024 + 1])("refuses a record of %i bytes", (size) => {
    const journal = openJournal({ file });
    expect(() => journal.append(new Uint8Array(size))).toThrow(/must be 1 to 1048576 bytes: current size is/);
    journal.close();
  });
});

describe("I15: damage never yields a newer or another state", () => {
  it("gives an older record or none, for any cut and any flipped bit", () => {
    write("10", "200", "3000", "40000");
    const content = readFileSync(file);
    const valid = new Set(["10", "200", "3000", "40000", undefined]);
    for (let end = 0; end <= content.length; end += 1)
      expect(valid).toContain(text(readRecords(content.subarray(0, end)).newest));
    fc.assert(
      fc.property(fc.nat({ max: content.length * 8 - 1 }), (bit) => {
        const flipped = Uint8Array.from(content);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const read = readRecords(flipped);
        expect(read.condition).not.toBe("Whole");
        expect(valid).toContain(text(read.newest));
      }),
    );
  });
});
