import { Pool } from "undici";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { type Peer, startPeer } from "../test-world.ts";
import { type AnalyzeTextOptions, checkAnalyzeText } from "./analyze-text.ts";
import { createCleanMemo } from "./clean-memo.ts";

let peer: Peer;
let pool: Pool;
let options: AnalyzeTextOptions;
const never = new AbortController().signal;
/** Each answers `severity` for what its text says, `hate:3`. */
const analyze: Peer["answer"] = (_, response, body) => {
  const asked: { text: string; categories: string[] } = JSON.parse(body);
  const categoriesAnalysis = asked.categories.map((category) => ({
    category,
    severity: Number(new RegExp(`${category}:([0-7])`).exec(asked.text)?.[1] ?? 0),
  }));
  const blocklistsMatch = asked.text.includes("plum") ? [{ blocklistName: "fruit" }] : [];
  response.end(JSON.stringify({ blocklistsMatch, categoriesAnalysis }));
};

beforeAll(async () => {
  peer = await startPeer(analyze);
  pool = new Pool(peer.url);
});
afterAll(async () => {
  await pool.destroy();
  await peer.stop();
});
beforeEach(() => {
  peer.answer = analyze;
  peer.requests.length = 0;
  options = {
    service: {
      dispatcher: pool,
      basePath: "",
      credential: () => ({ ok: true, headers: {} }),
      clock: systemClock,
      random: () => 0,
    },
    memo: createCleanMemo({ max: 100, lifeMs: 60_000 }),
    timeoutMs: 2_000,
    categories: [
      { category: "Hate", severityMin: 4 },
      { category: "SelfHarm", severityMin: 1 },
      { category: "Violence", severityMin: 7 },
    ],
    blocklists: ["fruit"],
  };
});
const check = (...texts: string[]) => checkAnalyzeText(options, texts, never);

describe("checkAnalyzeText()", () => {
  it.each([
    ["nothing", { kind: "clean" }],
    ["Hate:3 Violence:6", { kind: "clean" }],
    ["Hate:4", { kind: "hit", rule: "hate" }],
    ["SelfHarm:1", { kind: "hit", rule: "self_harm" }],
    ["Violence:7", { kind: "hit", rule: "violence" }],
    ["Sexual:7, which is not asked about", { kind: "clean" }],
    ["a plum", { kind: "hit", rule: "blocklist" }],
    [`${"x".repeat(9_997)}Hate:5`, { kind: "hit", rule: "hate" }],
    [Array.from({ length: 60_000 }, (_, index) => `w${index}`).join(" "), { kind: "failed", reason: "too_long" }],
  ])("%s", async (text, expected) => {
    expect(await check(text)).toEqual(expected);
  });

  it("asks in Azure's form, once for one clean text", async () => {
    await check("one", "two");
    await check("one", "two");
    expect(peer.requests.map(({ url, body }) => [url, JSON.parse(body)])).toEqual([
      [
        "/contentsafety/text:analyze?api-version=2024-09-01",
        {
          text: "one\ntwo",
          categories: ["Hate", "SelfHarm", "Violence"],
          blocklistNames: ["fruit"],
          haltOnBlocklistHit: true,
          outputType: "EightSeverityLevels",
        },
      ],
    ]);
  });

  it.each([
    ["no categories", {}],
    ["a category missing", { categoriesAnalysis: [{ category: "Hate", severity: 0 }] }],
    ["a severity that is none", { categoriesAnalysis: [{ category: "Hate", severity: "0" }] }],
  ])("fails for an answer with %s", async (_, body) => {
    peer.answer = (_request, response) => response.end(JSON.stringify(body));
    expect(await check("hi")).toEqual({ kind: "failed", reason: "unreadable_answer" });
  });

  it("takes a match of a blocklist though the categories were left out", async () => {
    peer.answer = (_, response) => response.end('{"blocklistsMatch":[{}],"categoriesAnalysis":[]}');
    expect(await check("hi")).toEqual({ kind: "hit", rule: "blocklist" });
  });
});
