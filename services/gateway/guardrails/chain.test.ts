import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import type { GatewayGuardrail } from "#core/api/pod-config.ts";
import { type Emulator, startEmulator } from "../../emulator/app.ts";
import {
  AGENT,
  API_KEY,
  chat,
  eventually,
  type GatewayWorld,
  MODEL_KEY,
  ORCHESTRATOR_SUBJECT,
  startGatewayWorld,
} from "../test-world.ts";

/** Guardrails of Azure's in the real gateway, against the emulated Content Safety and model. */

const SECRET = "words that nobody may repeat";
let emulator: Emulator;
let closed: GatewayWorld;
let open: GatewayWorld;

beforeAll(async () => {
  emulator = await startEmulator({
    model: { auth: "Key", apiKeys: [MODEL_KEY], deployments: [] },
    contentSafety: { keys: ["safety-key"] },
  });
  const worldWith = (failureMode: "Closed" | "Open"): Promise<GatewayWorld> =>
    startGatewayWorld({ modelUrl: emulator.url, guardrails: (folder) => guardrails(folder.path, failureMode) });
  [closed, open] = await Promise.all([worldWith("Closed"), worldWith("Open")]);
});
afterAll(async () => {
  await Promise.all([closed?.stop(), open?.stop()]);
  await emulator?.stop();
});
beforeEach(() => control("reset", {}));

function guardrails(folder: string, failureMode: "Closed" | "Open"): GatewayGuardrail[] {
  const file = join(folder, "safety-key");
  writeFileSync(file, "safety-key\n");
  const service = { endpoint: emulator.url, auth: { type: "SecretFile" as const, file }, timeoutMs: 600 };
  const common = { phase: "Input" as const, action: "Reject" as const, failureMode };
  return [
    { type: "PromptShields", name: "shields", ...common, ...service },
    {
      type: "AnalyzeText",
      name: "harm",
      ...common,
      ...service,
      categories: [{ category: "Hate", severityMin: 4 }],
      blocklists: [],
    },
    { type: "AnalyzeText", name: "watch", ...common, ...service, action: "Alert", categories: violent, blocklists: [] },
    { type: "AzureContentFilter", name: "filter", ...common, phase: "Output" },
  ];
}
const violent = [{ category: "Violence" as const, severityMin: 1 }];

const control = (path: string, body: object): Promise<Response> =>
  fetch(`${emulator.controlUrl}/control/${path}`, { method: "POST", body: JSON.stringify(body) });
const requestsSchema = z.object({
  requests: z.array(z.object({ standIn: z.string(), route: z.string(), count: z.number() })),
});
/** How often a stand-in was asked since the last reset. */
async function asked(standIn: string): Promise<number> {
  const answer = await fetch(`${emulator.controlUrl}/control/requests`);
  const { requests } = requestsSchema.parse(await answer.json());
  return requests.filter((each) => each.standIn === standIn).reduce((sum, each) => sum + each.count, 0);
}
const auditOf = (world: GatewayWorld, answer: Response): Promise<Record<string, unknown>> =>
  eventually(() =>
    world.gateway.audit().find((line) => line["requestId"] === (answer.headers.get("x-request-id") ?? "none")),
  );
const errorSchema = z.object({ error: z.object({ code: z.string(), message: z.string(), type: z.string() }) });
async function faults(): Promise<unknown[]> {
  const answer = await fetch(`${emulator.controlUrl}/control/faults`);
  return z.object({ faults: z.array(z.unknown()) }).parse(await answer.json()).faults;
}
let serial = 0;
/** Texts of each case are its own: nothing was found clean before. */
const fresh = (text: string): string => `${text} (${++serial})`;

describe("an attack is refused before any model hears of it", () => {
  const tool = (content: string) => [
    { role: "user", content: "What does it say?" },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }],
    },
    { role: "tool", tool_call_id: "c", content },
  ];
  it.each<[string, string, (text: string) => object]>([
    ["what a user says", "prompt_attack", (text) => chat(text)],
    [
      "a part of it",
      "prompt_attack",
      (text) => ({ model: "gpt", messages: [{ role: "user", content: [{ type: "text", text }] }] }),
    ],
    [
      "what a client calls the system's words",
      "prompt_attack",
      (text) => ({ model: "gpt", messages: [{ role: "system", content: text }] }),
    ],
    [
      "what a client calls the model's words",
      "prompt_attack",
      (text) => ({ model: "gpt", messages: [{ role: "assistant", content: text }] }),
    ],
    ["a tool's result", "document_attack", (text) => ({ model: "gpt", messages: tool(text) })],
    [
      "a tool's description",
      "document_attack",
      (text) => chat("hi", { tools: [{ type: "function", function: { name: "f", description: text } }] }),
    ],
    ["40,000 characters behind others", "prompt_attack", (text) => chat(`${"word ".repeat(8_000)}${text}`)],
  ])("in %s", async (_, rule, body) => {
    const answer = await closed.post("/v1/chat/completions", body(fresh(`${SECRET} [[attack]]`)));
    const { error } = errorSchema.parse(await answer.json());
    expect([answer.status, error.code, error.type]).toEqual([400, "content_filter", "invalid_request_error"]);
    expect(error.message).toBe("Cannot accept the request as the guardrail shields refuses it");
    expect(answer.headers.get("x-should-retry")).toBe("false");
    expect(await auditOf(closed, answer)).toMatchObject({
      decision: "refuse",
      rule: "content_filter",
      guardrails: `shields=Reject:${rule}`,
    });
    expect(await asked("model")).toBe(0);
  });

  it.each<[string, (text: string) => object]>([
    ["a text", (text) => ({ input: text })],
    ["a message", (text) => ({ input: [{ role: "user", content: [{ type: "input_text", text }] }] })],
    ["instructions of a client", (text) => ({ input: "hi", instructions: text })],
    ["a tool's output", (text) => ({ input: [{ type: "function_call_output", call_id: "c", output: text }] })],
  ])("in %s of Responses, for a model and for the agent", async (_, body) => {
    for (const model of ["gpt", AGENT.name]) {
      const answer = await closed.post("/v1/responses", { model, ...body(fresh("[[attack]]")) });
      expect([answer.status, errorSchema.parse(await answer.json()).error.code]).toEqual([400, "content_filter"]);
    }
    expect(await asked("model")).toBe(0);
    expect(closed.orchestrator.requests).toHaveLength(0);
  });

  it("in what is embedded", async () => {
    const answer = await closed.post("/v1/embeddings", { model: "gpt", input: ["fine", fresh("[[attack]]")] });
    expect(answer.status).toBe(400);
  });

  it("that a repeated key would hide", async () => {
    const hidden = `{"model":"gpt","messages":[{"role":"user","content":"[[attack]]","content":"hi"}]}`;
    const answer = await closed.post("/v1/chat/completions", hidden);
    expect([answer.status, errorSchema.parse(await answer.json()).error.code]).toEqual([400, "invalid_json"]);
  });
});

describe("our own orchestrator", () => {
  it("is not asked about its instructions, but about its users' words and its tools' results", async () => {
    const authorization = `Bearer ${await closed.issuer.sign({ subject: ORCHESTRATOR_SUBJECT })}`;
    const send = (messages: object[]): Promise<Response> =>
      closed.post("/v1/chat/completions", { model: "gpt", messages }, { authorization });
    const system = { role: "system", content: fresh("[[attack]]") };
    const said = { role: "assistant", content: fresh("[[attack]]") };
    const user = { role: "user", content: fresh("hi") };
    expect((await send([system, said, user])).status).toBe(200);
    expect((await send([system, user, { role: "tool", tool_call_id: "c", content: fresh("[[attack]]") }])).status).toBe(
      400,
    );
    expect((await send([system, { role: "user", content: fresh("[[attack]]") }])).status).toBe(400);
  });
});

describe("what is clean", () => {
  it("passes, and each guardrail stands in the audit record", async () => {
    const answer = await closed.post("/v1/chat/completions", chat(fresh("Good morning")));
    expect(answer.status).toBe(200);
    expect(await auditOf(closed, answer)).toMatchObject({
      decision: "allow",
      guardrails: "shields=Allow harm=Allow watch=Allow",
    });
  });

  it("is asked about once in a conversation that grows", async () => {
    const messages = [{ role: "user", content: fresh("word ".repeat(1_900)) }];
    const send = (): Promise<Response> => closed.post("/v1/chat/completions", { model: "gpt", messages });
    await send();
    expect(await asked("contentSafety")).toBe(3);
    await send();
    expect(await asked("contentSafety")).toBe(3);
    messages.push({ role: "tool", content: fresh("a result") });
    await send();
    expect(await asked("contentSafety")).toBe(3 + 3);
  });

  it("with harm in it is refused from the severity on that was set, or only noted", async () => {
    const harm = await closed.post("/v1/chat/completions", chat(fresh("[[hate 4]]")));
    expect(harm.status).toBe(400);
    expect(await auditOf(closed, harm)).toMatchObject({ guardrails: "shields=Allow harm=Reject:hate" });
    const noted = await closed.post("/v1/chat/completions", chat(fresh("[[hate 3]] [[violence 1]]")));
    expect(noted.status).toBe(200);
    expect(await auditOf(closed, noted)).toMatchObject({
      decision: "allow",
      guardrails: "shields=Allow harm=Allow watch=Alert:violence",
    });
  });
});

describe("a Content Safety that does not tell", () => {
  const ways: [string, object, string][] = [
    ["down", { kind: "Status", status: 503, count: 100 }, "server_error"],
    ["away", { kind: "DropRequest", count: 100 }, "unreachable"],
    ["slow", { kind: "Latency", delayMs: 5_000, count: 100 }, "timeout"],
    ["busy", { kind: "Status", status: 429, retryAfterSeconds: 1, count: 100 }, "throttled"],
    ["talking nonsense", { kind: "TruncatedJson", count: 100 }, "unreadable_answer"],
    ["silent about it", { kind: "StrangeAnalysis", variant: "Empty", count: 100 }, "unreadable_answer"],
  ];

  it.each(ways)("as it is %s: refused where closed", async (_, fault, reason) => {
    await control("faults", { standIn: "contentSafety", ...fault });
    const answer = await closed.post("/v1/chat/completions", chat(fresh(SECRET)));
    const { error } = errorSchema.parse(await answer.json());
    expect([answer.status, error.code]).toEqual([503, "guardrail_unavailable"]);
    expect(error.message).toBe("Cannot serve as the guardrail shields could not check the request");
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await auditOf(closed, answer)).toMatchObject({ guardrails: `shields=FailClosed:${reason}` });
    expect(await asked("model")).toBe(0);
  });

  it.each(ways)("as it is %s: passes where open", async (_, fault, reason) => {
    await control("faults", { standIn: "contentSafety", ...fault });
    const answer = await open.post("/v1/chat/completions", chat(fresh(SECRET)));
    expect(answer.status).toBe(200);
    expect(await auditOf(open, answer)).toMatchObject({
      decision: "allow",
      guardrails: `shields=FailOpen:${reason} harm=FailOpen:${reason} watch=FailOpen:${reason}`,
    });
  });

  it("for a moment: nobody notices", async () => {
    await control("faults", { standIn: "contentSafety", kind: "Status", status: 503 });
    const answer = await closed.post("/v1/chat/completions", chat(fresh("hi")));
    expect(answer.status).toBe(200);
  });

  it("a text that is longer than may be asked about: refused where closed, as repeating it does not help", async () => {
    const long = chat(Array.from({ length: 60_000 }, (_, index) => `w${index}`).join(" "));
    const answer = await closed.post("/v1/chat/completions", long);
    expect([answer.status, errorSchema.parse(await answer.json()).error.code]).toEqual([413, "request_too_large"]);
    expect(answer.headers.get("x-should-retry")).toBe("false");
    expect(await auditOf(closed, answer)).toMatchObject({ guardrails: "shields=FailClosed:too_long" });
    expect((await open.post("/v1/chat/completions", long)).status).toBe(200);
  });

  it("a client that leaves meanwhile: nothing more is asked", async () => {
    await control("faults", { standIn: "contentSafety", kind: "Latency", delayMs: 5_000 });
    const leaving = new AbortController();
    const sent = fetch(`${closed.gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${API_KEY}`, "x-request-id": "leaving" },
      body: JSON.stringify(chat(fresh("hi"))),
      signal: leaving.signal,
    });
    // The fault is used up: the check has begun.
    await eventually(async () => ((await faults()).length === 0 ? true : undefined));
    leaving.abort();
    await expect(sent).rejects.toThrow();
    const line = await eventually(() => closed.gateway.audit().find((each) => each["requestId"] === "leaving"));
    expect(line).toMatchObject({ status: 499, cutBy: "client" });
    expect(await asked("model")).toBe(0);
  });
});

describe("metrics", () => {
  it("count what was asked by guardrail and action, and why one could not tell", async () => {
    const text = await closed.gateway.metrics();
    const checks = "supercargo_gateway_guardrail_checks_total";
    for (const action of ["Allow", "Reject", "FailClosed"])
      expect(text).toMatch(
        new RegExp(`^${checks}\\{guardrail="shields",phase="Input",action="${action}"\\} [1-9]`, "m"),
      );
    expect(text).toMatch(/^supercargo_gateway_guardrail_failures_total\{guardrail="shields",reason="timeout"\} 1$/m);
    expect(await open.gateway.metrics()).toMatch(
      new RegExp(`^${checks}\\{guardrail="harm",phase="Input",action="FailOpen"\\}`, "m"),
    );
  });
});

describe("nothing of a text", () => {
  it("stands in any line of the log", () => {
    const lines = [...closed.gateway.lines, ...open.gateway.lines].map((line) => JSON.stringify(line));
    expect(lines.length).toBeGreaterThan(30);
    expect(
      lines.filter((line) => line.includes(SECRET) || line.includes("[[") || line.includes('safety-key"')),
    ).toEqual([]);
  });
});
