import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { PROBLEM_REASONS } from "#core/api/usage-ledger.ts";
import { METRICS } from "#core/metric-names.ts";

const alertSchema = z.strictObject({
  alert: z.string().regex(/^Supercargo[A-Za-z]+$/),
  expr: z.string(),
  for: z.string().optional(),
  labels: z.strictObject({ severity: z.enum(["critical", "warning", "info"]) }),
  annotations: z.strictObject({ summary: z.string(), runbook_url: z.string() }),
});
const fileSchema = z.strictObject({
  groups: z.array(z.strictObject({ name: z.string(), rules: z.array(alertSchema) })),
});

const page = readFileSync("docs/operations.md", "utf8");
const rules = fileSchema
  .parse(parse(readFileSync("charts/supercargo/files/alerts.yaml", "utf8")))
  .groups.flatMap((group) => group.rules);

/** GitHub's anchors of the headings of a page. */
const anchors = [...page.matchAll(/^#{2,4} (.+)$/gm)].map(([, title = ""]) =>
  title
    .toLowerCase()
    .replace(/[^a-z0-9 -]/g, "")
    .replaceAll(" ", "-"),
);

describe("the alert rules", () => {
  it("name metrics that somebody writes", () => {
    const named = rules.flatMap(({ expr }) =>
      [...expr.matchAll(/\b(?:supercargo|leader)_[a-z_]+/g)].map(([name]) => name),
    );
    expect(named.length).toBeGreaterThan(10);
    for (const name of named) expect(Object.values(METRICS)).toContain(name);
  });

  it("have a row in docs/operations.md with their severity, and a section that says what to do", () => {
    const rows = [...page.matchAll(/^\| `(Supercargo\w+)` +\| (\w+) +\|.*\]\(#([a-z-]+)\)/gm)].map(
      ([, alert, severity, anchor]) => ({ alert, severity, url: `docs/operations.md#${anchor}` }),
    );
    expect(rows).toEqual(
      rules.map(({ alert, labels, annotations }) => ({
        alert,
        severity: labels.severity,
        url: annotations.runbook_url,
      })),
    );
    for (const { annotations } of rules) expect(anchors).toContain(annotations.runbook_url.split("#")[1]);
  });

  it("watch every problem exactly once, and docs/operations.md says of each what to do", () => {
    const watched = rules.flatMap(({ expr }) => /reason=~"([^"]+)"/.exec(expr)?.[1]?.split("|") ?? []);
    expect(watched.toSorted()).toEqual([...PROBLEM_REASONS].toSorted());
    const told = (page.split("### What is wrong")[1] ?? "").split("\n### ")[0] ?? "";
    expect([...told.matchAll(/^\| `(\w+)` /gm)].map(([, reason]) => reason)).toEqual([...PROBLEM_REASONS]);
  });
});

describe("docs/operations.md", () => {
  it("links to sections that exist", () => {
    const links = [...page.matchAll(/\]\(#([a-z0-9-]+)\)/g)].map(([, anchor]) => anchor);
    expect(links.length).toBeGreaterThan(20);
    for (const link of links) expect(anchors).toContain(link);
  });
});
