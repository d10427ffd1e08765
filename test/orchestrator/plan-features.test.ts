import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type AgentWorld, createWorld } from "./world.ts";

let world: AgentWorld;
beforeAll(async () => {
  world = await createWorld();
  await world.start();
});
afterAll(() => world?.stop());

const input = '[[call get_order {"order_id":"A-1001"}]][[next]][[say Sorry.]]';

type Ask = (body: object) => Promise<string>;

/** The plan as the sidecar passes it on. */
function under(planId: string, features: object): Ask {
  const entitlement = { state: "Active", planId, validUntil: "2099-01-01T00:00:00Z", features };
  world.writeControl({ entitlement });
  return async (body) => (await world.request("/v1/responses", { body })).text();
}

/** Asks until a call was judged under the plan. */
async function judged(planId: string, ask: Ask): Promise<void> {
  const isJudged = async (): Promise<boolean> => {
    await ask({ input });
    return world.log.some((line) => line.includes(`"planId":"${planId}"`));
  };
  await expect.poll(isJudged, { timeout: 5000 }).toBe(true);
}

describe("a plan that allows tools", () => {
  it.each([[["crm"]], [["orders/list_orders", "crm"]], [["orders/get"]]])(
    "%j: refuses another before it is called, and says why",
    async (tools) => {
      const planId = `only ${tools.join()}`;
      const ask = under(planId, { tools });
      await judged(planId, ask);
      const before = { calls: world.toolCalls.length, counted: await count(), lines: world.log.length };
      expect(await ask({ input })).toContain("Refused (not_entitled): The plan does not allow this tool");
      expect([world.toolCalls.length, await count()]).toEqual([before.calls, before.counted]);
      expect(offered()).not.toContain("get_order");
      const audit = world.log.slice(before.lines).filter((line) => line.includes('"audit":true'));
      expect(audit.map((line) => auditSchema.parse(JSON.parse(line)))).toEqual([
        { rule: "plan_tools", code: "not_entitled", outcome: "Refused", planId, tool: "orders/get_order" },
      ]);
    },
  );

  it.each([[["orders"]], [["orders/get_order"]], [["crm", "orders/get_order"]]])("%j: calls it", async (tools) => {
    const planId = `with ${tools.join()}`;
    const ask = under(planId, { tools });
    await judged(planId, ask);
    const before = world.toolCalls.length;
    await ask({ input });
    expect(world.toolCalls.length).toBe(before + 1);
    expect(offered()).toContain("get_order");
  });
});

describe("a plan without the agent's model", () => {
  it("begins no run", async () => {
    const ask = under("pro", { models: ["small"] });
    const answer = async (): Promise<string> => ask({ input: "[[say Hello.]]" });
    await expect
      .poll(answer, { timeout: 5000 })
      .toContain('Cannot call the model as plan pro allows model small: current value is \\"default\\"');
    const before = world.modelCalls.length;
    await answer();
    expect(world.modelCalls.length).toBe(before);
  });
});

const auditSchema = z.object({
  rule: z.string(),
  code: z.string(),
  outcome: z.string(),
  planId: z.string(),
  tool: z.string(),
});

function count(): Promise<number> {
  return world.metric('supercargo_usage_total{dimension="tool_action"}');
}

/** What the model was offered at last. */
function offered(): string {
  return JSON.stringify(world.modelCalls.at(-1)?.body["tools"] ?? []);
}
