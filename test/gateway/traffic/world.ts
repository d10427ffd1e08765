import { readFileSync } from "node:fs";
import { z } from "zod";
import { decodeCounterFile } from "../../../services/core/counter-record.ts";
import type { Control } from "../../../services/core/api/pod-config.ts";
import { type Emulator, startEmulator } from "../../../services/emulator/app.ts";
import {
  control,
  deployment,
  eventually,
  type GatewayWorld,
  startGatewayWorld,
} from "../../../services/gateway/test-world.ts";
import { ALIASES } from "./plan.ts";

/** A gateway with the emulator's model behind it, two aliases with a deployment each, and every limit in force but far away. */
export interface TrafficWorld {
  readonly gateway: GatewayWorld;
  readonly emulator: Emulator;
  /** What the model has sent, by the name that a deployment calls it by. */
  tally(alias: string): Promise<Tally>;
  /** Throws when requests in flight or holds are left after 10 s. */
  untilQuiet(): Promise<void>;
  stop(): Promise<void>;
}

const tokensSchema = z.object({
  requests: z.number(),
  inputTokens: z.number(),
  outputTokens: z.number(),
  cachedTokens: z.number(),
});
const tallySchema = z.object({ deployment: z.string(), completed: tokensSchema, cut: tokensSchema });
export type Tokens = z.output<typeof tokensSchema>;
export type Tally = z.output<typeof tallySchema>;

const NO_TOKENS: Tokens = { requests: 0, inputTokens: 0, outputTokens: 0, cachedTokens: 0 };
const FAR = "100000000000000";
const LIMITED = ["input_tokens", "cached_input_tokens", "output_tokens", "model_requests"];

export async function startTrafficWorld(env: Record<string, string> = {}): Promise<TrafficWorld> {
  const emulator = await startEmulator();
  const gateway = await startGatewayWorld({
    modelUrl: emulator.url,
    models: (folder) =>
      Object.values(ALIASES).map((name) => ({
        name,
        outputTokensMax: 4096,
        deployments: [
          { ...deployment("one", { modelUrl: emulator.url, modelKeyFile: folder.modelKeyFile }), model: name },
        ],
      })),
    rateLimits: [{ name: "far", per: "Key", mode: "Enforce", requestsPerMinute: 1e9, tokensPerMinute: 1e9 }],
    env,
  });
  const leases: Control["leases"] = LIMITED.map((dimension) => ({ dimension, upTo: FAR }));
  await limit(gateway, leases);
  return {
    gateway,
    emulator,
    async tally(alias) {
      const answer = await fetch(`${emulator.controlUrl}/control/model/tally`);
      const { deployments } = z.object({ deployments: z.array(tallySchema) }).parse(await answer.json());
      const found = deployments.find((each) => each.deployment === alias);
      return found ?? { deployment: alias, completed: NO_TOKENS, cut: NO_TOKENS };
    },
    untilQuiet: () => untilQuiet(gateway),
    async stop() {
      await gateway.stop();
      await emulator.stop();
    },
  };
}

/** Puts ceilings in force. */
export async function limit(world: GatewayWorld, leases: Control["leases"]): Promise<void> {
  world.folder.writeControl(control({ leases }));
  await eventually(() => (heldIn(world) === undefined ? undefined : true));
}

/** Waits until nothing is in flight and nothing is held. Throws after 10 s. */
export async function untilQuiet(world: GatewayWorld): Promise<void> {
  await eventually(async () => {
    const inFlight = /^supercargo_gateway_in_flight_requests (\d+)$/m.exec(await world.gateway.metrics())?.[1];
    return inFlight === "0" ? true : undefined;
  });
  // The file is written at the next look at control.json.
  await eventually(() => (heldIn(world) === 0n ? true : undefined));
}

/** All that is held by the counter file; nothing before a ceiling is in force. */
function heldIn(world: GatewayWorld): bigint | undefined {
  const leases = Object.values(decodeCounterFile(readFileSync(world.folder.files.counters))?.leases ?? {});
  return leases.length === 0 ? undefined : leases.reduce((sum, { held }) => sum + BigInt(held), 0n);
}
