import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { drain } from "../../../services/gateway/drain.ts";
import { eventually, type Peer } from "../../../services/gateway/test-world.ts";
import {
  AGENT_RUN,
  ALL,
  answerAndDie,
  answerNothing,
  answerPart,
  answerWell,
  type Ask,
  CHAT,
  OF_AGENT,
  OF_MODELS,
  RESPONSES,
  streamed,
  toInit,
} from "./asks.ts";
import { type AuditWorld, startAuditWorld } from "./world.ts";

/** The law of audit for requests that nothing refuses: however one ends, it leaves one record that says how. */

let world: AuditWorld;
beforeAll(async () => {
  world = await startAuditWorld();
});
afterAll(() => world.stop());
beforeEach(() => answerAs(answerWell));

function answerAs(answer: Peer["answer"]): void {
  world.model.answer = answer;
  world.orchestrator.answer = answer;
}

const STREAMS = [CHAT, RESPONSES, AGENT_RUN].map(streamed);
/** More than a whole answer is held back for: its first part has gone out. */
const LARGE = "x".repeat(700_000);
let serial = 0;

/** Sends a request of a known id and leaves: once it has reached its upstream, or once a part of the answer is here. */
async function leave(ask: Ask, when: "asked" | "begun"): Promise<string> {
  const id = `left-${(serial += 1)}`;
  world.ids.push(id);
  const gone = new AbortController();
  const asked = (): number => world.model.requests.length + world.orchestrator.requests.length;
  const before = asked();
  const { headers, ...init } = toInit(ask);
  const leaving = { ...init, headers: { ...Object(headers), "x-request-id": id }, signal: gone.signal };
  const answer = fetch(`${world.local.server.url}${ask.path}`, leaving);
  if (when === "begun") await (await answer).body?.getReader().read();
  else await eventually(() => (asked() > before ? true : undefined));
  gone.abort();
  await answer.catch(() => undefined);
  return id;
}

const nameOf = ({ method = "POST", path, body }: Ask): string => `${method} ${path} ${JSON.stringify(body ?? "")}`;
const named = (asks: readonly Ask[]): (readonly [string, Ask])[] => asks.map((ask) => [nameOf(ask), ask]);
const CUT_MODEL = { decision: "allow", deployment: "primary", attempts: 1 };

describe("one record is left by", () => {
  it.each(named([...ALL, ...STREAMS]))("an answer: %s", async (_, ask) => {
    const { id, status, isBroken } = await world.send(ask);
    expect([status, isBroken]).toEqual([200, false]);
    const record = await world.recordOf(id);
    expect(record).toMatchObject({ status: 200, decision: "allow", rule: "entitled", principal: "orders team" });
    for (const field of ["code", "reason", "cutBy"]) expect(record).not.toHaveProperty(field);
  });

  it.each(named([...OF_MODELS, ...OF_AGENT, ...STREAMS]))(
    "a client that leaves before the answer: %s",
    async (_, ask) => {
      answerAs(answerNothing);
      const record = await world.recordOf(await leave(ask, "asked"));
      expect(record).toMatchObject({ status: 499, decision: "allow", cutBy: "client" });
    },
  );

  it.each(named([...OF_MODELS, AGENT_RUN]))(
    "a client that leaves while the answer is held back: %s",
    async (_, ask) => {
      answerAs(answerPart());
      const record = await world.recordOf(await leave(ask, "asked"));
      expect(record).toMatchObject({ status: 499, decision: "allow", cutBy: "client" });
    },
  );

  it.each(named(STREAMS))("a client that leaves within a stream: %s", async (_, ask) => {
    answerAs(answerPart());
    const record = await world.recordOf(await leave(ask, "begun"));
    expect(record).toMatchObject({ status: 200, decision: "allow", cutBy: "client" });
    expect(record).not.toHaveProperty("code");
  });

  it.each(named([CHAT, AGENT_RUN]))("a client that leaves within a large answer: %s", async (_, ask) => {
    answerAs(answerPart(LARGE));
    const record = await world.recordOf(await leave(ask, "begun"));
    expect(record).toMatchObject({ status: 200, decision: "allow", cutBy: "client" });
  });

  it.each(named(STREAMS))("an upstream that dies within a stream: %s", async (_, ask) => {
    answerAs(answerAndDie());
    const { id, status, code, isBroken } = await world.send(ask);
    expect([status, code, isBroken]).toEqual([200, "stream_interrupted", true]);
    expect(await world.recordOf(id)).toMatchObject({ status, code, decision: "allow", cutBy: "upstream" });
  });

  it.each(named([CHAT, AGENT_RUN]))("an upstream that dies within a large answer: %s", async (_, ask) => {
    answerAs(answerAndDie(LARGE));
    const { id, status, isBroken } = await world.send(ask);
    expect([status, isBroken]).toEqual([200, true]);
    expect(await world.recordOf(id)).toMatchObject({ status, decision: "allow", cutBy: "upstream" });
  });

  it("a model's answer with all that it says of itself", async () => {
    world.model.answer = (_, response) => {
      const choices = ["stop", "length", "stop"].map((reason) => ({ message: {}, finish_reason: reason }));
      const usage = { prompt_tokens: 9, completion_tokens: 6, prompt_tokens_details: { cached_tokens: 4 } };
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ choices, usage }));
    };
    world.setControl({ leases: [{ dimension: "output_tokens", upTo: "1000000" }] });
    const { id } = await world.send(CHAT);
    world.setControl();
    expect(await world.recordOf(id)).toMatchObject({
      ...CUT_MODEL,
      finishReason: "stop length",
      inputTokens: 9,
      cachedInputTokens: 4,
      outputTokens: 6,
      estimated: false,
      reservedInputTokens: JSON.stringify(CHAT.body).length,
      reservedOutputTokens: 4096,
      version: expect.stringMatching(/^[0-9a-f]{12}$/),
    });
  });

  it("a call of our orchestrator, and says for whom", async () => {
    const [ask = CHAT] = await world.asOrchestrator([CHAT]);
    const { id } = await world.send({ ...ask, headers: { ...ask.headers, "x-supercargo-acting-for": "ann" } });
    expect(await world.recordOf(id)).toMatchObject({ callerKind: "orchestrator", actingFor: "ann" });
  });
});

/** The last one: the gateway is gone behind it. */
describe("the end of the process", () => {
  it("leaves one record of each request that it cuts, and of nothing else", async () => {
    const { local } = world;
    answerAs((request, response, body) => {
      if (body.includes('"stream":true')) answerPart()(request, response, body);
    });
    const got = [...STREAMS, CHAT].map((ask) => world.send(ask));
    await eventually(() => (local.gateway.turns.size === got.length ? true : undefined));
    await systemClock.sleep(100);
    // Shorter than an upstream's silence.
    await drain(local.gateway, { server: local.server, deadlineMs: 100, clock: systemClock });
    const ends = await Promise.all(got);
    const records = await Promise.all(ends.map(({ id }) => world.recordOf(id)));
    expect(ends.map(({ status, code }) => [status, code])).toEqual([
      [200, "stream_interrupted"],
      [200, "stream_interrupted"],
      [200, "stream_interrupted"],
      [503, "draining"],
    ]);
    expect(records).toMatchObject([
      { status: 200, code: "stream_interrupted", decision: "allow", cutBy: "drain" },
      { status: 200, code: "stream_interrupted", decision: "allow", cutBy: "drain" },
      { status: 200, code: "stream_interrupted", decision: "allow", cutBy: "drain" },
      { status: 503, code: "draining", decision: "refuse" },
    ]);
    const recorded = local.lines.filter(({ audit }) => audit === true).map(({ requestId }) => String(requestId));
    expect(recorded.toSorted()).toEqual(world.ids.toSorted());
  });
});
