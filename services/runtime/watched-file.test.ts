import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { watchFile } from "./watched-file.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "watched-"));
  file = join(folder, "value.json");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** As the sidecar writes: a new file in the place of the old one. */
function replace(text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

function parse(text: string): number {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "number") throw new Error("it must be a number");
  return value;
}

describe("watchFile()", () => {
  it("says what is missing, then has the value once the file is there", () => {
    const watched = watchFile(file, parse);
    expect(watched.current()).toBeUndefined();
    expect(watched.problem()).toMatch(/^Cannot read .*value\.json: ENOENT/);
    replace("1");
    expect(watched.refresh()).toBe(true);
    expect(watched.current()).toEqual({
      value: 1,
      digest: "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
    });
    expect(watched.problem()).toBeUndefined();
    expect(watched.refresh()).toBe(false);
  });

  it("keeps the good value while the new content is bad, and says why", () => {
    replace("1");
    const watched = watchFile(file, parse);
    replace('"x"');
    expect(watched.refresh()).toBe(false);
    expect(watched.current()?.value).toBe(1);
    expect(watched.problem()).toMatch(/it must be a number$/);
  });

  it.each([
    ["back to the same content", "1"],
    ["on to another", "2"],
  ])("forgets the problem when a bad file goes %s", (_, text) => {
    replace("1");
    const watched = watchFile(file, parse);
    replace("bad");
    watched.refresh();
    replace(text);
    expect(watched.refresh()).toBe(text !== "1");
    expect(watched.problem()).toBeUndefined();
    expect(watched.current()?.value).toBe(Number(text));
  });

  it("forgets the problem when a file that vanished comes back as it was", () => {
    replace("1");
    const watched = watchFile(file, parse);
    renameSync(file, `${file}.away`);
    watched.refresh();
    expect(watched.problem()).toMatch(/ENOENT/);
    expect(watched.current()?.value).toBe(1);
    renameSync(`${file}.away`, file);
    watched.refresh();
    expect(watched.problem()).toBeUndefined();
  });

  it("sees the kubelet's swap of a symlinked folder", () => {
    mkdirSync(join(folder, "..one"));
    mkdirSync(join(folder, "..two"));
    writeFileSync(join(folder, "..one", "value.json"), "1");
    writeFileSync(join(folder, "..two", "value.json"), "2");
    symlinkSync("..one", join(folder, "..data"));
    symlinkSync(join("..data", "value.json"), file);
    const watched = watchFile(file, parse);
    symlinkSync("..two", join(folder, "..data_tmp"));
    renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    expect(watched.refresh()).toBe(true);
    expect(watched.current()?.value).toBe(2);
  });

  it("refuses a file above 1 MiB", () => {
    writeFileSync(file, Buffer.alloc(1024 * 1024 + 1, 0x31));
    expect(watchFile(file, parse).problem()).toMatch(/must be at most 1048576 bytes: current size is 1048577$/);
    unlinkSync(file);
  });
});
