import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { runCommand } from "../run-command.ts";
import { withNpmPackage } from "./npm-package.ts";

const folder = mkdtempSync(join(tmpdir(), "supercargo-npm-"));
writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "sample", version: "1.0.0" }));
writeFileSync(join(folder, "tool.txt"), "a tool");
afterAll(() => rmSync(folder, { recursive: true }));

describe("withNpmPackage()", () => {
  it("hands over the unpacked files of a package with the pinned integrity, and removes them", async () => {
    await runCommand(["npm", "pack", folder, "--silent", "--pack-destination", folder]);
    const packed = readFileSync(join(folder, "sample-1.0.0.tgz"));
    const integrity = `sha512-${createHash("sha512").update(packed).digest("base64")}`;
    const seen = await withNpmPackage({ spec: join(folder, "sample-1.0.0.tgz"), integrity }, async (unpacked) => {
      expect(readFileSync(join(unpacked, "tool.txt"), "utf8")).toBe("a tool");
      return unpacked;
    });
    expect(existsSync(seen)).toBe(false);
  });

  it("refuses other bytes than those that were pinned", async () => {
    const use = (): Promise<never> => Promise.reject(new Error("must not be used"));
    const result = withNpmPackage({ spec: folder, integrity: "sha512-AAAA" }, use);
    await expect(result).rejects.toThrow(/as its integrity must be sha512-AAAA: current value is sha512-/);
  });

  it("says what to do when npm cannot have it", async () => {
    const result = withNpmPackage({ spec: "./no-such-folder-or-package", integrity: "" }, () => Promise.resolve());
    await expect(result).rejects.toThrow("check that npm reaches its registry");
  });
});
