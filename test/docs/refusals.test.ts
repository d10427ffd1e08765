import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

/** Where the commands' refusals are written. */
const FOLDER = "services/meter/reporter/commands";
const SOURCES = [
  "services/core/commands.ts",
  "services/core/retention.ts",
  ...readdirSync(FOLDER)
    .filter((file) => !file.includes(".test."))
    .map((file) => join(FOLDER, file)),
];

/** A message as both sides write it: what varies is one sign. */
function shape(message: string): string {
  return message
    .replaceAll(/\$\{[^}]*\}/g, "…")
    .replace(/\b10 times/, "… times")
    .replaceAll(/ +/g, " ");
}

describe("docs/errors.md", () => {
  it("names refusals that the commands write", () => {
    const page = readFileSync("docs/errors.md", "utf8").split("## Commands of the reporter")[1] ?? "";
    const told = [...page.matchAll(/^\| `(Cannot [^`]+)`/gm)].map(([, message = ""]) => shape(message));
    const written = shape(SOURCES.map((file) => readFileSync(file, "utf8")).join("\n"));
    expect(told.length).toBeGreaterThan(9);
    for (const message of told.filter((one) => !one.startsWith("Cannot run"))) {
      const parts = message.split("…").map((part) => part.trim());
      for (const part of parts) expect(written, message).toContain(part);
    }
  });
});
