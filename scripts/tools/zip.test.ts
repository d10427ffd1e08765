import { deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { readZipEntry } from "./zip.ts";

/** A zip by the PKWARE layout: local headers with an extra field, directory, end with a comment. */
function makeZip(
  entries: readonly { readonly name: string; readonly method: number; readonly body: Buffer }[],
): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, method, body } of entries) {
    const local = Buffer.alloc(30 + name.length + 4);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    local.writeUInt16LE(4, 28);
    local.write(name, 30);
    const entry = Buffer.alloc(46 + name.length);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(method, 10);
    entry.writeUInt32LE(body.length, 20);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(offset, 42);
    entry.write(name, 46);
    locals.push(local, body);
    directory.push(entry);
    offset += local.length + body.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, ...directory, end]);
}

const text = Buffer.from("hello ".repeat(100));
const archive = makeZip([
  { name: "stored", method: 0, body: Buffer.from("as it is") },
  { name: "folder/deflated", method: 8, body: deflateRawSync(text) },
  { name: "odd", method: 12, body: Buffer.from("bzip2") },
]);

describe("readZipEntry()", () => {
  it.each([
    ["stored", "as it is"],
    ["folder/deflated", text.toString()],
  ])("reads %s", (name, expected) => {
    expect(readZipEntry(archive, name).toString()).toBe(expected);
  });

  it.each([
    [archive, "missing", "Cannot find missing in zip: it holds 3 other files"],
    [archive, "odd", "Cannot read zip entry as its method must be 0 or 8: current value is 12"],
    [Buffer.from("no zip at all"), "stored", "Cannot read zip: no directory found"],
  ])("refuses what it cannot read (%#)", (bytes, name, message) => {
    expect(() => readZipEntry(bytes, name)).toThrow(message);
  });
});
