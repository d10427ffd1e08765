import { readFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import { toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { decodeCounterFile } from "#core/counter-record.ts";
import { type AgentWorld, createWorld, type WorldOptions } from "./world.ts";

const DOCUMENTS = 'supercargo_usage_total{dimension="documents_analyzed"}';
const CALLS = 'supercargo_usage_total{dimension="tool_action"}';
const RUNS = 'supercargo_usage_total{dimension="workflow_completed"}';

const worlds: AgentWorld[] = [];
afterAll(async () => {
  await Promise.all(worlds.splice(0).map((world) => world.stop()));
});

async function open(options: WorldOptions = {}): Promise<AgentWorld> {
  const world = await createWorld(options);
  worlds.push(world);
  return world;
}

/** Three papers of a delivered order, then the answer. */
const input = '[[call check_papers {"order_id":"A-1003"}]][[next]][[say They fit.]]';

const responseSchema = z.object({
  status: z.string(),
  output: z.array(z.looseObject({ type: z.string() })),
  error: z.object({ code: z.string() }).nullable(),
});
type Answer = z.output<typeof responseSchema>;

async function ask(world: AgentWorld, body: object = { input }, key = "usage"): Promise<Answer> {
  const answer = await world.request("/v1/responses", { body, headers: { "idempotency-key": key } });
  return responseSchema.parse(await answer.json());
}

const retry = (world: AgentWorld, value: "Safe" | "Unsafe"): void => {
  const tools = world.config.tools.map((tool) => ({
    ...tool,
    functions: tool.functions.map((entry) => (entry.name === "check_papers" ? { ...entry, retry: value } : entry)),
  }));
  world.writeConfig({ ...world.config, tools });
};

describe("usage that a tool reports", () => {
  it("is counted beside the call, and shows in the metered family", async () => {
    const world = await open();
    await world.start();
    expect(await ask(world)).toMatchObject({ status: "completed" });
    const plain = { input: "Check the papers of order A-1004" };
    expect(await ask(world, plain, "other")).toMatchObject({ status: "completed" });
    expect([await world.metric(DOCUMENTS), await world.metric(CALLS), await world.metric(RUNS)]).toEqual([4, 2, 2]);
    const audits = world.log.filter((line) => line.includes('"outcome":"Done"'));
    expect(audits.map((line) => JSON.parse(line).usage)).toEqual([
      { counted: { documents_analyzed: 3 }, refused: [] },
      { counted: { documents_analyzed: 1 }, refused: [] },
    ]);
  });

  it.concurrent.each([
    // [mark, calls that reached the server]
    ["after:start:1", 1],
    ["before:end:1", 2],
    ["after:end:1", 1],
    ["before:count:2", 1],
    ["after:count:2", 1],
    ["before:finish:1", 1],
    ["after:count:3", 1],
  ] as const)("is neither lost nor doubled by a crash %s", async (mark, calls) => {
    const world = await open();
    await world.start({ KILL_AT: mark });
    await expect(ask(world)).rejects.toThrow();
    await world.start();
    expect(await ask(world)).toMatchObject({ status: "completed" });
    expect(world.toolCalls.filter(({ name }) => name === "check_papers")).toHaveLength(calls);
    expect([await world.metric(DOCUMENTS), await world.metric(CALLS), await world.metric(RUNS)]).toEqual([3, 1, 1]);
  });

  it("is not counted where a crash hid the outcome of a call that may not be repeated", async () => {
    const world = await open();
    retry(world, "Unsafe");
    await world.start({ KILL_AT: "before:end:1" });
    await expect(ask(world)).rejects.toThrow();
    await world.start();
    expect(await ask(world)).toMatchObject({ status: "completed", output: [{ status: "failed" }, {}] });
    expect(world.toolCalls).toHaveLength(1);
    expect([await world.metric(DOCUMENTS), await world.metric(CALLS)]).toEqual([Number.NaN, 1]);
  });
});

/** A server whose one function reports whatever it is asked to. */
function reporting(): RequestListener {
  const handler = toNodeHandler(
    createMcpHandler(() => {
      const server = new McpServer({ name: "hostile", version: "1" });
      server.registerTool("check_papers", { inputSchema: z.object({ report: z.string() }) }, ({ report }) => ({
        content: [{ type: "text", text: "The papers fit." }],
        _meta: { "supercargo.dev/usage": JSON.parse(report) },
      }));
      return server;
    }),
  );
  return (request, response) =>
    void handler(
      {
        method: request.method ?? "GET",
        url: request.url ?? "/",
        headers: request.headers,
        [Symbol.asyncIterator]: () => request[Symbol.asyncIterator](),
      },
      response,
    );
}

describe("a report that is wrong", () => {
  it("is refused aloud, its answer reaches the model, and the pod goes on", async () => {
    const world = await open({ tools: reporting() });
    await world.start();
    const cases: readonly (readonly [string, number, string])[] = [
      ['{"documents_analyzed":-1}', 0, "not_a_count"],
      ['{"documents_analyzed":2.5}', 0, "not_a_count"],
      ['{"documents_analyzed":1e300}', 0, "not_a_count"],
      ['{"tool_action":1000}', 0, "undeclared"],
      ["[3]", 0, "not_an_object"],
      [JSON.stringify(Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`d${i}`, 1]))), 0, "too_many_keys"],
      ['{"documents_analyzed":21}', 20, "over_maximum"],
      ['{"documents_analyzed":2}', 2, ""],
    ];
    let expected = 0;
    for (const [index, [report, counted, code]] of cases.entries()) {
      const call = JSON.stringify({ report });
      const answer = await ask(world, { input: `[[call check_papers ${call}]][[next]][[say Done.]]` }, `k${index}`);
      expect(answer.status).toBe("completed");
      expect(JSON.stringify(world.modelCalls.at(-1)?.body["messages"])).toContain("The papers fit.");
      expected += counted;
      if (expected > 0) expect(await world.metric(DOCUMENTS)).toBe(expected);
      if (code === "") continue;
      const refused = `supercargo_orchestrator_usage_refusals_total{code="${code}"}`;
      expect(await world.metric(refused)).toBeGreaterThan(0);
      expect(world.log.some((line) => line.includes(code) && line.includes("Refused usage"))).toBe(true);
      expect(world.log.some((line) => line.includes('"audit":true') && line.includes(`"refused":["${code}"]`))).toBe(
        true,
      );
    }
    expect(await world.metric(CALLS)).toBe(cases.length);
  });
});

describe("a counter file that cannot be written", () => {
  it("keeps the call from leaving, and counts nothing of it later", async () => {
    const world = await open();
    await world.start({ FAIL_AT: "before:count:1" });
    expect(await ask(world)).toMatchObject({ status: "failed", error: { code: "metering_unavailable" } });
    expect(world.toolCalls).toEqual([]);
    expect(await ask(world, { input }, "again")).toMatchObject({ status: "completed" });
    expect(world.toolCalls).toHaveLength(1);
    expect([await world.metric(DOCUMENTS), await world.metric(CALLS), await world.metric(RUNS)]).toEqual([3, 1, 1]);
  });

  it("keeps an answer back, and counts no run of which nobody can ever read the answer", async () => {
    const world = await open();
    await world.start({ FAIL_AT: "before:count:3" });
    const lost = await world.request("/v1/responses", { body: { input, store: false } });
    expect(await lost.json()).toMatchObject({ error: { code: "metering_unavailable" } });
    expect(await ask(world, { input }, "again")).toMatchObject({ status: "completed" });
    expect([await world.metric(DOCUMENTS), await world.metric(CALLS), await world.metric(RUNS)]).toEqual([6, 2, 1]);
  });

  it("counts what a tool has used once it can be written again", async () => {
    const world = await open();
    await world.start({ FAIL_AT: "before:count:2" });
    expect(await ask(world)).toMatchObject({ status: "failed", error: { code: "metering_unavailable" } });
    expect([await world.metric(DOCUMENTS), await world.metric(CALLS), await world.metric(RUNS)]).toEqual([3, 1, 0]);
  });
});

describe("a hard limit of the plan", () => {
  const limit = (dimension: string, upTo: string): object => ({ leases: [{ dimension, upTo }] });
  const leasesOf = (world: AgentWorld): unknown =>
    decodeCounterFile(readFileSync(join(world.directory, "counters")))?.leases;

  it("lets no call begin that could report more than is left, and asks for more", async () => {
    const world = await open();
    world.writeControl(limit("documents_analyzed", "22"));
    await world.start();
    expect(await ask(world)).toMatchObject({ status: "completed", output: [{ status: "completed" }, {}] });
    await expect.poll(() => leasesOf(world)).toEqual({ documents_analyzed: { applied: "22", held: "0" } });
    const second = await ask(world, { input }, "again");
    expect(second).toMatchObject({ status: "completed", output: [{ status: "failed" }, {}] });
    expect(JSON.stringify(second.output[0])).toContain(
      "Refused (hard_limit_reached): The plan's limit of documents_analyzed is used up, or too little is left for this call",
    );
    expect(world.toolCalls).toHaveLength(1);
    expect([await world.metric(DOCUMENTS), await world.metric(CALLS), await world.metric(RUNS)]).toEqual([3, 1, 2]);
    await expect.poll(() => leasesOf(world)).toEqual({ documents_analyzed: { applied: "22", held: "20" } });
    world.writeControl(limit("documents_analyzed", "40"));
    await expect.poll(() => leasesOf(world)).toMatchObject({ documents_analyzed: { applied: "40" } });
    expect(await ask(world, { input }, "third")).toMatchObject({ output: [{ status: "completed" }, {}] });
    expect(await world.metric(DOCUMENTS)).toBe(6);
  });

  it("lets no run begin that could not be counted, and keeps room for those in flight", async () => {
    const world = await open();
    world.writeControl(limit("workflow_completed", "1"));
    const reached = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    world.hooks.beforeModel = () => {
      reached.resolve();
      return release.promise;
    };
    await world.start();
    const first = ask(world);
    await reached.promise;
    const second = await world.request("/v1/responses", { body: { input } });
    expect([second.status, await second.json()]).toMatchObject([
      403,
      {
        error: {
          code: "hard_limit_reached",
          message: "Cannot begin a run as the plan's limit of workflow_completed is used up",
        },
      },
    ]);
    release.resolve();
    expect(await first).toMatchObject({ status: "completed" });
    expect((await world.request("/v1/responses", { body: { input } })).status).toBe(403);
    expect(await world.metric(RUNS)).toBe(1);
  });
});
