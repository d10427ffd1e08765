import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { unsupportedFields } from "../../operator/accept.ts";
import { sampleInput } from "../fakes/desired-input.ts";

/** A spec with everything that the schema knows and this version refuses. */
const { spec } = sampleInput({
  tools: Array.from({ length: 17 }, (_, index) => ({
    name: `tool-${index}`,
    mcp: { url: "http://tool:3000/mcp" },
    functions: [{ name: "read", usage: [{ dimension: `pages_${index}`, maxPerCall: "1" }] }],
  })),
  limits: [{ name: "a", dimension: "tokens", window: "Day", hard: "1" }],
  budgets: {
    turns: { max: 3, onBreach: "Ask" },
    toolCalls: { max: 3, onBreach: "Degrade" },
    tokens: { max: 1 },
    durationSeconds: { max: 1 },
    costMicros: { max: 1 },
  },
  exposure: {
    type: "Gateway",
    host: "a.example.com",
  },
  approvals: { callers: "Allowed" },
  orchestrator: {
    autoscaling: { minReplicas: 1, maxReplicas: 2 },
    storage: { type: "PostgreSQL", postgreSQL: { secretRef: { name: "a", key: "b" } } },
  },
});

describe("the table of refused fields in docs/agentdeployment.md", () => {
  it("names exactly the fields that the operator refuses", () => {
    const page = readFileSync("docs/agentdeployment.md", "utf8");
    const table = /## What this version refuses[\s\S]*?\n\n(\|[\s\S]*?)\n\n/.exec(page)?.[1] ?? "";
    const named = [...table.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`(spec\.[A-Za-z.]+)`/g)].map((match) => match[1] ?? ""),
    );
    const refused = unsupportedFields(spec).map(({ message }) => message.split(" ")[0] ?? "");
    expect(named.toSorted()).toEqual(refused.toSorted());
  });
});
