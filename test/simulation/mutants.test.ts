import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { applyPatch } from "./hooks.ts";
import { MUTANTS } from "./mutants.ts";

const ROOT = new URL("../..", import.meta.url);

describe("a seeded bug", () => {
  it.each(MUTANTS)("$name finds the text that it replaces", ({ patches }) => {
    const files = new Set(patches.map(({ file }) => file));
    for (const file of files) {
      const source = readFileSync(new URL(`.${file}`, ROOT), "utf8");
      const seeded = patches.filter((patch) => patch.file === file).reduce(applyPatch, source);
      expect(seeded).not.toBe(source);
    }
  });
});
