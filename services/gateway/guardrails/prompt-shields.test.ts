import fc from "fast-check";
import { Pool } from "undici";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { type Peer, startPeer } from "../test-world.ts";
import { createCleanMemo } from "./clean-memo.ts";
import type { ContentSafety } from "./content-safety.ts";
import {
  checkPromptShields,
  packShieldCalls,
  type PromptShieldsOptions,
  SHIELD_OVERLAP,
  toShieldParts,
} from "./prompt-shields.ts";
import type { RequestTexts } from "./request-texts.ts";

const never = new AbortController().signal;

describe("the calls of one check", () => {
  /** Anything, and where the first cut makes it hardest. */
  const lengths = fc.oneof(fc.nat(24_000), fc.integer({ min: 8_990, max: 9_010 }));
  const filler = fc
    .array(fc.constantFrom("x", "é", "世", "😀", "\ud83d", "a sentence. "), { minLength: 1, maxLength: 4 })
    .chain((unit) => lengths.map((length) => unit.join("").repeat(length).slice(0, length)));
  const marker = fc
    .oneof(fc.constant(SHIELD_OVERLAP), fc.integer({ min: 1, max: SHIELD_OVERLAP }))
    .map((length) => `!${"#".repeat(length - 1)}`);

  it("hold an attack of at most the overlap whole, wherever it stands, however long the text", () => {
    fc.assert(
      fc.property(filler, filler, marker, fc.boolean(), (before, after, attack, isPrompt) => {
        const text = `${before}${attack}${after}`;
        const texts = isPrompt ? { prompts: ["hello", text], documents: [] } : { prompts: [], documents: ["a", text] };
        const calls = packShieldCalls(toShieldParts(texts));
        const seen = calls.flatMap(({ body }) => (isPrompt ? (body.userPrompt ?? []) : body.documents));
        expect(seen.some((part) => part.includes(attack))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("stay within Azure's limits, well-formed, and leave no text out", () => {
    const documents = fc.array(filler, { maxLength: 12 });
    fc.assert(
      fc.property(filler, documents, (prompt, given) => {
        const calls = packShieldCalls(toShieldParts({ prompts: [prompt], documents: given }));
        for (const { userPrompt = "x", documents: batch } of calls.map(({ body }) => body)) {
          expect(userPrompt.length).toBeLessThanOrEqual(10_000);
          expect(batch.length).toBeLessThanOrEqual(5);
          expect(batch.join("").length).toBeLessThanOrEqual(10_000);
          expect([userPrompt, ...batch].every((part) => part !== "" && part.isWellFormed())).toBe(true);
        }
        const sent = calls.flatMap((call) => call.parts).join("").length;
        expect(sent).toBeGreaterThanOrEqual(given.join("").length);
        for (const { body, parts } of calls)
          expect(parts.every((part) => body.documents.some((document) => document.includes(part)))).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it("take prompt and documents together: as few as their longer one needs", () => {
    const texts = { prompts: ["p".repeat(15_000)], documents: Array.from({ length: 6 }, () => "short") };
    const calls = packShieldCalls(toShieldParts(texts));
    expect(calls.map(({ body }) => [body.userPrompt?.length, body.documents.length])).toEqual([
      [10_000, 5],
      [6_000, 1],
    ]);
  });

  it("put many short documents together: a run of 2,000 tool results is still asked about", () => {
    const documents = Array.from({ length: 2_000 }, (_, index) => `result ${index} `.padEnd(100, "x"));
    const calls = packShieldCalls(toShieldParts({ prompts: [], documents }));
    expect(calls).toHaveLength(21);
    expect(calls.flatMap((call) => call.parts)).toEqual(documents);
    expect(Math.max(...calls.map(({ body }) => body.documents.join("").length))).toBeLessThanOrEqual(10_000);
    expect(calls.every(({ body }) => body.documents.length <= 5)).toBe(true);
  });
});

describe("checkPromptShields()", () => {
  let peer: Peer;
  let pool: Pool;
  let options: PromptShieldsOptions;
  const shield: Peer["answer"] = (_, response, body) => {
    const asked: { userPrompt?: string; documents: string[] } = JSON.parse(body);
    const judge = (text: string) => ({ attackDetected: text.includes("ATTACK") });
    response.end(
      JSON.stringify({
        ...(asked.userPrompt === undefined ? {} : { userPromptAnalysis: judge(asked.userPrompt) }),
        documentsAnalysis: asked.documents.map(judge),
      }),
    );
  };

  beforeAll(async () => {
    peer = await startPeer(shield);
    pool = new Pool(peer.url, { connections: 16 });
  });
  afterAll(async () => {
    await pool.destroy();
    await peer.stop();
  });
  beforeEach(() => {
    peer.answer = shield;
    peer.requests.length = 0;
    const service: ContentSafety = {
      dispatcher: pool,
      basePath: "/base",
      credential: () => ({ ok: true, headers: { "ocp-apim-subscription-key": "k" } }),
      clock: systemClock,
      random: () => 0,
    };
    options = { service, memo: createCleanMemo({ max: 100, lifeMs: 60_000 }), timeoutMs: 2_000 };
  });
  const check = (texts: Partial<RequestTexts>, cut = never) =>
    checkPromptShields(options, { prompts: [], documents: [], ...texts }, cut);
  const status =
    (code: number, headers: Record<string, string> = {}): Peer["answer"] =>
    (_, response) => {
      response.writeHead(code, headers);
      response.end('{"error":{"code":"x","message":"secret words"}}');
    };
  /** The first answers in order, then the usual one. */
  const first = (...answers: Peer["answer"][]): void => {
    peer.answer = (...given) => (answers.shift() ?? shield)(...given);
  };

  it("asks in Azure's form", async () => {
    await check({ prompts: ["one", "two"], documents: ["doc"] });
    const [request] = peer.requests;
    expect(request?.url).toBe("/base/contentsafety/text:shieldPrompt?api-version=2024-09-01");
    expect(request?.headers).toMatchObject({ "ocp-apim-subscription-key": "k", "content-type": "application/json" });
    expect(JSON.parse(request?.body ?? "")).toEqual({ userPrompt: "one\ntwo", documents: ["doc"] });
  });

  it.each<[string, Partial<RequestTexts>, object]>([
    ["clean", { prompts: ["hi"], documents: ["d"] }, { kind: "clean" }],
    ["nothing to ask about", { prompts: [""], documents: [""] }, { kind: "clean" }],
    ["in the prompt", { prompts: ["hi", "ATTACK"] }, { kind: "hit", rule: "prompt_attack" }],
    [
      "in the 7th document",
      { documents: ["a", "b", "c", "d", "e", "f", "ATTACK"] },
      { kind: "hit", rule: "document_attack" },
    ],
    [
      "over the seam of two parts",
      { prompts: [`${"x".repeat(9_997)}ATTACK${"x".repeat(9_997)}`] },
      { kind: "hit", rule: "prompt_attack" },
    ],
    [
      "more than one check may ask",
      { prompts: [Array.from({ length: 60_000 }, (_, index) => `w${index}`).join(" ")] },
      { kind: "failed", reason: "too_long" },
    ],
  ])("%s", async (_, texts, expected) => {
    expect(await check(texts)).toEqual(expected);
  });

  it("does not even look at more than four times as much", async () => {
    expect(await check({ documents: ["x".repeat(600_001), "x".repeat(600_000)] })).toEqual({
      kind: "failed",
      reason: "too_long",
    });
    expect(peer.requests).toHaveLength(0);
  });

  it("asks at most four at a time, and stops at a hit", async () => {
    let running = 0;
    let most = 0;
    let waiting: (() => void)[] = [];
    // Of its own: what earlier tests have cut may still arrive at the other. The attack is the fifth document: four are answered when
    // four have come, and the attack when four more have; the other three get no answer, as it cuts them.
    const slow = await startPeer((request, response, body) => {
      most = Math.max(most, ++running);
      if (slow.requests.length <= 4 || body.includes("ATTACK"))
        waiting.push(() => {
          running -= 1;
          shield(request, response, body);
        });
      if (slow.requests.length % 4 !== 0) return;
      for (const answer of waiting) answer();
      waiting = [];
    });
    const dispatcher = new Pool(slow.url);
    options = { ...options, service: { ...options.service, dispatcher } };
    const documents = Array.from({ length: 20 }, (_, index) =>
      (index === 4 ? "ATTACK" : "x").padEnd(9_900, String(index)),
    );
    expect(await check({ documents })).toEqual({ kind: "hit", rule: "document_attack" });
    await dispatcher.destroy();
    await slow.stop();
    expect(most).toBe(4);
    expect(slow.requests.length).toBe(8);
  });

  it.each<[string, Peer["answer"], string, number]>([
    ["429", status(429), "throttled", 3],
    ["503", status(503), "server_error", 3],
    ["a closed connection", (request) => request.socket.destroy(), "unreachable", 3],
    ["429 that asks for more time than there is", status(429, { "retry-after": "3" }), "throttled", 1],
    ["400", status(400), "refused", 1],
    ["401", status(401), "credential", 1],
    ["404", status(404), "refused", 1],
    ["no JSON", (_, response) => response.end('{"userPromptAnalysis":'), "unreadable_answer", 1],
    ["an answer without end", (_, response) => response.end("x".repeat(70_000)), "unreadable_answer", 1],
    ["an empty answer", (_, response) => response.end("{}"), "unreadable_answer", 1],
    [
      "a text for a boolean",
      (_, response) => response.end('{"userPromptAnalysis":{"attackDetected":"false"},"documentsAnalysis":[]}'),
      "unreadable_answer",
      1,
    ],
  ])("%s fails as %s after %i calls", async (_, answer, reason, calls) => {
    peer.answer = answer;
    expect(await check({ prompts: ["hi"] })).toEqual({ kind: "failed", reason });
    expect(peer.requests).toHaveLength(calls);
  });

  it("tries again what may heal, as soon as it is told", async () => {
    first(status(503), status(429, { "retry-after-ms": "120" }));
    const startMs = performance.now();
    expect(await check({ prompts: ["hi"] })).toEqual({ kind: "clean" });
    expect(performance.now() - startMs).toBeGreaterThan(115);
  });

  it("fails for a document without a verdict", async () => {
    peer.answer = (_, response) => response.end('{"documentsAnalysis":[{"attackDetected":false}]}');
    expect(await check({ documents: ["a", "b"] })).toEqual({ kind: "failed", reason: "unreadable_answer" });
  });

  it("finds an attack though another call fails", async () => {
    first(status(400));
    const documents = ["x".repeat(9_990), "ATTACK".padEnd(9_990)];
    expect(await check({ documents })).toEqual({ kind: "hit", rule: "document_attack" });
  });

  it.each<[string, Peer["answer"]]>([
    ["before the head", () => undefined],
    ["within the body", (_, response) => void response.writeHead(200).write("{")],
  ])("ends at its deadline, with the service silent %s", async (_, answer) => {
    peer.answer = answer;
    options = { ...options, timeoutMs: 60 };
    const startMs = performance.now();
    expect(await check({ prompts: ["hi"] })).toEqual({ kind: "failed", reason: "timeout" });
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  it("ends when the request is cut", async () => {
    const cut = new AbortController();
    peer.answer = () => cut.abort();
    expect(await check({ prompts: ["hi"] }, cut.signal)).toEqual({ kind: "failed", reason: "cut" });
    expect(await check({ prompts: ["hi"] }, cut.signal)).toEqual({ kind: "failed", reason: "cut" });
  });

  it("fails without a credential, and asks nothing", async () => {
    options = { ...options, service: { ...options.service, credential: () => ({ ok: false, reason: "no token" }) } };
    expect(await check({ prompts: ["hi"] })).toEqual({ kind: "failed", reason: "credential" });
    expect(peer.requests).toHaveLength(0);
  });

  describe("remembers", () => {
    it("what was clean, and asks about what is new", async () => {
      await check({ prompts: ["hi"], documents: ["a"] });
      await check({ prompts: ["hi"], documents: ["a", "b"] });
      await check({ prompts: ["hi"], documents: ["a", "b"] });
      expect(peer.requests.map(({ body }) => body)).toEqual([
        '{"userPrompt":"hi","documents":["a"]}',
        '{"documents":["b"]}',
      ]);
    });

    it("a text as what it was: a clean document is no clean prompt", async () => {
      await check({ documents: ["a"] });
      await check({ prompts: ["a"] });
      expect(peer.requests).toHaveLength(2);
    });

    it("no hit and no failure", async () => {
      await check({ prompts: ["ATTACK"] });
      expect(await check({ prompts: ["ATTACK"] })).toEqual({ kind: "hit", rule: "prompt_attack" });
      first(status(400));
      await check({ prompts: ["hi"] });
      expect(await check({ prompts: ["hi"] })).toEqual({ kind: "clean" });
      expect(peer.requests).toHaveLength(4);
    });

    it("nothing for longer than its life", async () => {
      options = { ...options, memo: createCleanMemo({ max: 100, lifeMs: 0 }) };
      await check({ prompts: ["hi"] });
      await check({ prompts: ["hi"] });
      expect(peer.requests).toHaveLength(2);
    });
  });
});
