import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AgentWorld, createWorld } from "./world.ts";

let world: AgentWorld;
beforeAll(async () => {
  world = await createWorld();
  await world.start();
});
afterAll(() => world.stop());

describe("POST /v1/responses", () => {
  it("calls a tool and answers", async () => {
    const answer = await world.request("/v1/responses", {
      body: {
        model: "order-desk",
        input: 'Where is it? [[call get_order {"order_id":"A-1001"}]][[next]][[say It was delivered.]]',
      },
    });
    const body = await answer.json();
    expect(body).toMatchObject({ status: "completed" });
    expect(answer.status).toBe(200);
  });
});
