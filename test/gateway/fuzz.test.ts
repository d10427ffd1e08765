import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY } from "../../services/gateway/test-world.ts";
import { AREAS } from "./fuzz/areas.ts";
import { sendRaw } from "./fuzz/raw.ts";
import { verdictOf } from "./fuzz/shape.ts";
import { checkAftermath, type FuzzWorld, startFuzzWorld } from "./fuzz/world.ts";

/** Another seed each time; a failure tells it, and `npm run bench -- gateway-fuzz --area NAME --seed N` plays it again. */
const SEED = Math.floor(Math.random() * 2 ** 31);

let world: FuzzWorld;
beforeAll(async () => {
  world = await startFuzzWorld();
});
afterAll(() => world?.stop());

describe("a gateway that strangers write to", () => {
  it.each(AREAS)("gives the right answer or an error of the table: $name", { timeout: 120_000 }, async (area) => {
    const report = await area.run(world, { seed: SEED });
    expect(report.problem).toBeUndefined();
    expect(report.cases).toBe(area.runs);
    // A property that never sees a good case, or never a bad one, looks at nothing.
    expect(Object.keys(report.verdicts).length).toBeGreaterThan(1);
    expect(report.verdicts["ok"]).toBeGreaterThan(0);
  });

  // What fuzzing has found; a status without a body is no answer.
  it.each([
    ["an expectation that nobody knows", "host: x\r\nexpect: 200-ok", "ok"],
    ["no host", "x-a: b", "invalid_value"],
  ])("answers %s: %s", async (...[, line, verdict]) => {
    const head = `GET /v1/models HTTP/1.1\r\n${line}\r\napi-key: ${API_KEY}\r\nconnection: close\r\n\r\n`;
    expect(verdictOf(await sendRaw(Buffer.from(head), { port: world.port }))).toBe(verdict);
  });

  it("lives, with nothing in flight and nothing held", async () => {
    await checkAftermath(world);
  });
});
