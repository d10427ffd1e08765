import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { waitFor } from "../../scripts/demo/kubectl.ts";
import { DEMO } from "../../scripts/demo/names.ts";
import { readAccount } from "../../scripts/demo/receipt.ts";
import { expectWholeBooks } from "./books.ts";
import { killBundle } from "./kill.ts";
import { openGateway, openWorld, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await openWorld();
});

afterAll(() => world?.close());

/** Asks until one question is answered: a client's own retry over a gateway that was just killed. */
async function askOnce(): Promise<void> {
  await waitFor(
    async () => {
      const gateway = await openGateway(world.kubectl);
      try {
        const client = new OpenAI({
          apiKey: world.apiKey,
          baseURL: `${gateway.url}/v1`,
          maxRetries: 0,
          timeout: 30_000,
        });
        const response = await client.responses.create({ model: DEMO.agent, input: "Where is order A-1003?" });
        return response.status === "completed" ? response : undefined;
      } finally {
        gateway.stop();
      }
    },
    { what: "an answer after a crash", timeoutSeconds: 120, everyMs: 1000 },
  );
}

async function workflowsCounted(): Promise<bigint> {
  const { rows } = await readAccount(world.kubectl);
  return rows.find((row) => row.dimension === "workflow_completed")?.counted ?? 0n;
}

describe("kill -9 in the middle of the story", () => {
  it.each(["gateway", "sidecar", "orchestrator"] as const)(
    "%s: nothing counted is lost, nothing is posted twice",
    async (bundle) => {
      const before = await workflowsCounted();
      await askOnce();
      expect(killBundle(bundle)).toBeGreaterThan(0);
      await askOnce();
      await expectWholeBooks(world);
      expect((await workflowsCounted()) - before).toBeGreaterThanOrEqual(2n);
    },
  );

  it("reporter, again and again while the hour is posted", async () => {
    await askOnce();
    await world.azure.advanceToNextHour();
    for (let kill = 0; kill < 3; kill += 1) {
      // A killed container waits longer each time before the kubelet starts it again.
      await waitFor(async () => (killBundle("reporter") > 0 ? true : undefined), {
        what: "a reporter to kill",
        timeoutSeconds: 90,
        everyMs: 50,
      });
      await sleep(400 * (kill + 1));
    }
    await expectWholeBooks(world);
  });

  it("every request counted is one that the model answered", async () => {
    const tally = await world.azure.modelTally();
    const { rows } = await readAccount(world.kubectl);
    const counted = Object.fromEntries(rows.map((row) => [row.dimension, row.counted]));
    expect(counted["tokens_1k_in"] ?? 0n).toBeLessThanOrEqual(BigInt(tally.inputTokens));
    expect(counted["tokens_1k_out"] ?? 0n).toBeLessThanOrEqual(BigInt(tally.outputTokens));
  });
});
