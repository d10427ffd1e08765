import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeCounterFile } from "#core/counter-record.ts";
import { chat, eventually, type GatewayWorld, type Peer, startGatewayWorld, startPeer } from "./test-world.ts";

const USAGE = { prompt_tokens: 4, completion_tokens: 6 };
const event = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;

let model: Peer;
let world: GatewayWorld;

beforeEach(async () => {
  model = await startPeer((_, response, body) => {
    if (!body.includes('"stream":true')) {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ choices: [], usage: USAGE }));
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(event({ choices: [{ index: 0, delta: { content: "Hello" }, finish_reason: "stop" }] }));
    response.end(`${event({ choices: [], usage: USAGE })}data: [DONE]\n\n`);
  });
  world = await startGatewayWorld({ modelUrl: model.url });
});
afterEach(async () => {
  await world?.stop();
  await model?.stop();
});

/** Asks on many connections until the gateway is gone; the ids of whole answers. */
async function askUntilKilled(killAfter: number): Promise<string[]> {
  const answered: string[] = [];
  const worker = async (_: unknown, index: number): Promise<void> => {
    for (;;) {
      const answer = await world.post("/v1/chat/completions", chat("Hi", { stream: index % 2 === 0 }));
      const text = await answer.text();
      if (!text.includes("[DONE]") && !text.includes("completion_tokens")) throw new Error(`It was cut off: ${text}`);
      answered.push(answer.headers.get("x-request-id") ?? "");
      if (answered.length === killAfter) world.gateway.child.kill("SIGKILL");
    }
  };
  await Promise.allSettled(Array.from({ length: 24 }).map(worker));
  return answered;
}

describe("a gateway that is killed while requests share their writes", () => {
  it.each([1, 60, 250])(
    "has counted and audited each answer that a client had, once, at answer %i",
    async (killAfter) => {
      const answered = await askUntilKilled(killAfter);
      expect(answered.length).toBeGreaterThanOrEqual(killAfter);
      const totals = decodeCounterFile(readFileSync(world.folder.files.counters))?.totals ?? {};
      const counted = Number(totals["model_requests"]);
      expect(counted).toBeGreaterThanOrEqual(answered.length);
      // What was counted and not seen was in flight: one for each connection at most.
      expect(counted).toBeLessThanOrEqual(answered.length + 24);
      expect(Number(totals["output_tokens"])).toBe(counted * USAGE.completion_tokens);
      await eventually(() => {
        const audited = new Set(world.gateway.audit().map((line) => line["requestId"]));
        return answered.every((id) => audited.has(id)) ? true : undefined;
      });
      // Counted first, then written down: no record of what never was, and none twice.
      const records = world.gateway.audit();
      expect(new Set(records.map((line) => line["requestId"])).size).toBe(records.length);
      expect(records.filter((line) => line["decision"] === "allow").length).toBeLessThanOrEqual(counted);
    },
  );
});
