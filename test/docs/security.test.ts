import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { tableUnder } from "./markdown.ts";

const rows = tableUnder(readFileSync("docs/security.md", "utf8"), "## OWASP Top 10 for LLM applications");
const tests = rows.flatMap(([risk, , , shown = ""]) =>
  [...shown.matchAll(/(\S+\.test\.ts): "([^"]+)"/g)].map(([, file = "", title = ""]) => ({ risk, file, title })),
);

describe("the table of risks in docs/security.md", () => {
  it("has each risk once, each with a test", () => {
    const numbers = Array.from({ length: 10 }, (_, index) => `LLM${String(index + 1).padStart(2, "0")}`);
    expect(rows.map(([risk]) => risk?.slice(0, 5))).toEqual(numbers);
    expect(new Set(tests.map(({ risk }) => risk)).size).toBe(10);
  });

  it("names places that exist", () => {
    const places = rows.flatMap(([, , where = ""]) => where.split(", ")).filter((place) => !place.startsWith("spec."));
    expect(places.filter((place) => !existsSync(place))).toEqual([]);
  });

  it.each(tests)("names a test of $risk that exists: $title", ({ file, title }) => {
    expect(readFileSync(file, "utf8")).toContain(`("${title}"`);
  });
});
