import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type AgentWorld, createWorld, type WorldOptions } from "./world.ts";

const RUNS = 'supercargo_usage_total{dimension="workflow_completed"}';
const CALLS = 'supercargo_usage_total{dimension="tool_action"}';

const UNVERIFIED = "effect unverified, verify before retrying";

const worlds: AgentWorld[] = [];
afterAll(async () => {
  await Promise.all(worlds.splice(0).map((world) => world.stop()));
});

async function open(options: WorldOptions = {}): Promise<AgentWorld> {
  const world = await createWorld(options);
  worlds.push(world);
  return world;
}

/** A safe call, then an unsafe one, then the answer. */
const input =
  'L0 [[call get_order {"order_id":"A-1003"}]][[next]]' +
  '[[call refund_order {"order_id":"A-1003","amount_cents":4200,"reason":"slow"}]][[next]][[say L1 refunded.]]';

const responseSchema = z.object({
  id: z.string(),
  status: z.string(),
  output: z.array(z.looseObject({ type: z.string(), status: z.string() })),
  error: z.object({ code: z.string() }).nullable(),
});
type StoredResponse = z.output<typeof responseSchema>;

/** Asks with an Idempotency-Key, so that the answer can be asked for again after the crash. */
async function ask(world: AgentWorld, body: object = { input }): Promise<StoredResponse> {
  const answer = await world.request("/v1/responses", { body, headers: { "idempotency-key": "crash" } });
  return responseSchema.parse(await answer.json());
}

/** Runs into the mark, starts a second process on the same files, and asks again with the same key. */
async function crashAt(world: AgentWorld, mark: string): Promise<StoredResponse> {
  await world.start({ KILL_AT: mark });
  await expect(ask(world)).rejects.toThrow();
  await world.start();
  return ask(world);
}

describe("kill -9", () => {
  it.concurrent.each([
    // [mark, model calls in all, calls of get_order that reached the server, whether the refund's outcome is known]
    ["before:turn:1", 4, 1, true],
    ["after:turn:1", 3, 1, true],
    ["after:start:1", 3, 1, true],
    ["before:count:1", 3, 1, true],
    ["after:count:1", 3, 1, true],
    ["before:end:1", 3, 2, true],
    ["after:start:2", 3, 1, false],
    ["before:end:2", 3, 1, false],
    ["after:end:2", 3, 1, true],
    ["before:finish:1", 3, 1, true],
    ["before:count:3", 3, 1, true],
    ["after:count:3", 3, 1, true],
  ] as const)("%s: one answer, no unsafe call twice, every unit once", async (...[mark, answered, lookups, known]) => {
    const world = await open();
    const response = await crashAt(world, mark);
    expect(response.status).toBe("completed");
    expect(response.output.map((item) => [item.type, item.status])).toEqual([
      ["mcp_call", "completed"],
      ["mcp_call", known ? "completed" : "failed"],
      ["message", "completed"],
    ]);
    expect(JSON.stringify(response.output[1]).includes(UNVERIFIED)).toBe(!known);
    expect(JSON.stringify(world.modelCalls.at(-1)?.body["messages"]).includes(UNVERIFIED)).toBe(!known);
    // A recorded answer of the model is never asked again; one that was lost is, once.
    expect(world.modelCalls).toHaveLength(answered);
    const keys = world.toolCalls.filter((call) => call.name === "get_order").map((call) => call.key);
    expect(keys).toHaveLength(lookups);
    expect(new Set(keys).size).toBe(1);
    expect(world.toolCalls.filter((call) => call.name === "refund_order").length).toBeLessThanOrEqual(1);
    if (known) expect(world.book.refunds()).toHaveLength(1);
    expect(await world.metric(CALLS)).toBe(2);
    expect(await world.metric(RUNS)).toBe(1);
  });

  it("while an unsafe tool works: it is never called again", async () => {
    const world = await open();
    world.hooks.beforeToolAnswer = async (name) => {
      if (name === "refund_order") await world.kill("SIGKILL");
    };
    await world.start();
    await expect(ask(world)).rejects.toThrow();
    await world.start();
    expect((await ask(world)).output[1]).toMatchObject({ type: "mcp_call", status: "failed" });
    expect(world.toolCalls.filter((call) => call.name === "refund_order")).toHaveLength(1);
    expect(world.book.refunds()).toHaveLength(1);
    expect(await world.metric(CALLS)).toBe(2);
  });

  it("of a run that is not stored and carries no key: it is forgotten, nothing more is asked", async () => {
    const world = await open();
    world.hooks.beforeModel = async (call) => {
      if (call === 2) await world.kill("SIGKILL");
    };
    await world.start();
    const request = world.request("/v1/responses", { body: { input, store: false } });
    await expect(request).rejects.toThrow();
    await world.start();
    await expect.poll(() => world.log.some((line) => line.includes('"msg":"Ended run"'))).toBe(true);
    expect(world.modelCalls).toHaveLength(2);
    expect(await world.metric(RUNS)).toBe(0);
  });
});

describe("SIGTERM", () => {
  it("lets a run in flight end, takes no other, and exits 0", async () => {
    const world = await open();
    const reached = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    world.hooks.beforeModel = (call) => {
      if (call > 1) return undefined;
      reached.resolve();
      return release.promise;
    };
    await world.start();
    const running = ask(world);
    await reached.promise;
    const exit = world.kill("SIGTERM");
    await expect.poll(() => world.log.some((line) => line.includes('"msg":"Stopping"'))).toBe(true);
    const refused = await world.request("/v1/responses", { body: { input: "Hello" } });
    expect(await refused.json()).toMatchObject({ error: { code: "draining" } });
    release.resolve();
    expect(await running).toMatchObject({ status: "completed" });
    expect(await exit).toBe(0);
  });

  it("ends a run that outlives the grace as failed", async () => {
    const world = await open({ environment: { SUPERCARGO_DRAIN_SECONDS: "0" } });
    const reached = Promise.withResolvers<void>();
    world.hooks.beforeModel = (call) => {
      reached.resolve();
      return call === 1 ? new Promise(() => {}) : undefined;
    };
    await world.start();
    const running = ask(world);
    await reached.promise;
    expect(await world.kill("SIGTERM")).toBe(0);
    expect(await running).toMatchObject({ status: "failed", error: { code: "draining" } });
  });
});
