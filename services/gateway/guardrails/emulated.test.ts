import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import type { UpstreamAuth } from "#core/api/pod-config.ts";
import { systemClock } from "#runtime/clock.ts";
import { type Emulator, startEmulator } from "../../emulator/app.ts";
import { createUpstreamCredentials } from "../upstream/credentials.ts";
import { checkAnalyzeText } from "./analyze-text.ts";
import { createCleanMemo } from "./clean-memo.ts";
import { checkPromptShields } from "./prompt-shields.ts";

/** Both checks against the emulated Content Safety, which knows nothing of them but Azure's pages. */

let emulator: Emulator;
let pool: Pool;
let folder: string;
let token: string;
const never = new AbortController().signal;

beforeAll(async () => {
  emulator = await startEmulator({ contentSafety: { keys: ["right"] } });
  pool = new Pool(emulator.url);
  folder = mkdtempSync(join(tmpdir(), "shields-"));
  writeFileSync(join(folder, "right"), "right\n");
  writeFileSync(join(folder, "wrong"), "wrong\n");
  const form = new URLSearchParams({
    grant_type: "client_credentials",
    client_id: "gateway",
    client_secret: "any",
    scope: "https://cognitiveservices.azure.com/.default",
  });
  const answer = await fetch(`${emulator.url}/token`, { method: "POST", body: form });
  token = z.object({ access_token: z.string() }).parse(await answer.json()).access_token;
});
afterAll(async () => {
  await pool.destroy();
  await emulator.stop();
  rmSync(folder, { recursive: true, force: true });
});
const control = (path: string, body: object) =>
  fetch(`${emulator.controlUrl}/control/${path}`, { method: "POST", body: JSON.stringify(body) });
beforeEach(() => control("reset", {}));

function serviceWith(auth: UpstreamAuth) {
  const credentials = createUpstreamCredentials({ current: () => token });
  return {
    dispatcher: pool,
    basePath: "",
    credential: () => credentials.headerFor({ type: "ContentSafety", auth }),
    clock: systemClock,
    random: () => 0,
  };
}
const byKey = (name: string): UpstreamAuth => ({ type: "SecretFile", file: join(folder, name) });
const shield = (prompts: string[], documents: string[] = [], auth = byKey("right"), timeoutMs = 1_000) =>
  checkPromptShields(
    { service: serviceWith(auth), memo: createCleanMemo({ max: 10, lifeMs: 1_000 }), timeoutMs },
    { prompts, documents },
    never,
  );

describe("credentials", () => {
  it.each<[string, () => UpstreamAuth, object]>([
    ["a key from its file", () => byKey("right"), { kind: "clean" }],
    ["a wrong key", () => byKey("wrong"), { kind: "failed", reason: "credential" }],
    ["a file that is not there", () => byKey("absent"), { kind: "failed", reason: "credential" }],
    ["none", () => ({ type: "None" }), { kind: "failed", reason: "credential" }],
    ["a token of the workload identity, by its scope", () => ({ type: "WorkloadIdentity" }), { kind: "clean" }],
  ])("%s", async (_, auth, expected) => {
    expect(await shield(["hi"], ["a"], auth())).toEqual(expected);
  });
});

describe("Prompt Shields", () => {
  const long = "word ".repeat(9_000);
  it.each<[string, string[], string[], object]>([
    [
      "a clean request with all that one may hold",
      [long],
      Array.from({ length: 12 }, () => long.slice(0, 7_000)),
      { kind: "clean" },
    ],
    ["an attack at the end of 45,000 characters", [`${long}[[attack]]`], [], { kind: "hit", rule: "prompt_attack" }],
    ["an attack in a tool result", ["hi"], ["fine", "[[attack]]"], { kind: "hit", rule: "document_attack" }],
    ["characters of two units", ["😀".repeat(12_000)], [], { kind: "clean" }],
    ["halves of characters", ["\ud83d".repeat(12_000)], ["\ude00"], { kind: "clean" }],
  ])("%s", async (_, prompts, documents, expected) => {
    expect(await shield(prompts, documents)).toEqual(expected);
  });

  it.each<[object, string]>([
    [{ kind: "Status", status: 429, retryAfterSeconds: 2 }, "throttled"],
    [{ kind: "Status", status: 503, count: 3 }, "server_error"],
    [{ kind: "Status", status: 400 }, "refused"],
    [{ kind: "DropRequest", count: 3 }, "unreachable"],
    [{ kind: "Latency", delayMs: 5_000 }, "timeout"],
    [{ kind: "TruncatedJson" }, "unreadable_answer"],
    [{ kind: "CutAnswer", count: 3 }, "unreachable"],
    [{ kind: "StrangeAnalysis", variant: "Empty" }, "unreadable_answer"],
    [{ kind: "StrangeAnalysis", variant: "OneMissing" }, "unreadable_answer"],
    [{ kind: "StrangeAnalysis", variant: "Texts" }, "unreadable_answer"],
  ])("%j fails as %s", async (fault, reason) => {
    await control("faults", { standIn: "contentSafety", ...fault });
    expect(await shield(["hi"], ["a", "b"], byKey("right"), 700)).toEqual({ kind: "failed", reason });
  });
});

describe("Analyze text", () => {
  const analyze = (text: string, blocklists: string[] = []) =>
    checkAnalyzeText(
      {
        service: serviceWith(byKey("right")),
        memo: createCleanMemo({ max: 10, lifeMs: 1_000 }),
        timeoutMs: 1_000,
        categories: [
          { category: "Hate", severityMin: 4 },
          { category: "Violence", severityMin: 3 },
        ],
        blocklists,
      },
      [text],
      never,
    );

  it.each([
    ["[[hate 3]] [[violence 2]] [[sexual 7]]", { kind: "clean" }],
    ["[[hate 4]]", { kind: "hit", rule: "hate" }],
    [`${"word ".repeat(3_000)}[[violence 3]]`, { kind: "hit", rule: "violence" }],
  ])("%s", async (text, expected) => {
    expect(await analyze(text)).toEqual(expected);
  });

  it("blocklists, and one that does not exist", async () => {
    await control("content-safety", { blocklists: [{ name: "fruit", items: [{ id: "1", text: "plum" }] }] });
    expect(await analyze("a plum", ["fruit"])).toEqual({ kind: "hit", rule: "blocklist" });
    expect(await analyze("a pear", ["fruit"])).toEqual({ kind: "clean" });
    expect(await analyze("a pear", ["none"])).toEqual({ kind: "failed", reason: "refused" });
  });
});
