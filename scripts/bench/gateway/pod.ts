import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Control, GatewayConfig } from "#core/api/pod-config.ts";

/** More than any bench counts: the plan's limits are looked at, and never reached. */
const CEILING = "100000000000000";

/** A minute: as far away. */
const RATE = 1_000_000_000;

export interface PodOptions {
  readonly modelUrl: string;
  readonly port: number;
  readonly apiKeys: readonly string[];
}

/** The files and the environment of a gateway's pod, with everything on that costs: keys, hard limits, rates, local guardrails, audit, metrics. */
export function writePod(folder: string, options: PodOptions): Record<string, string> {
  const at = (name: string): string => join(folder, name);
  const control: Control = {
    mode: "Running",
    revokedKeys: [],
    entitlement: { state: "Active", planId: "pro", validUntil: "2099-01-01T00:00:00Z" },
    leases: ["input_tokens", "output_tokens", "model_requests"].map((dimension) => ({ dimension, upTo: CEILING })),
    term: 1,
    clockOffsetSeconds: 0,
  };
  writeFileSync(at("config.json"), JSON.stringify(configOf(options)));
  writeFileSync(at("control.json"), JSON.stringify(control));
  writeFileSync(at("token"), "token");
  return {
    SUPERCARGO_CONFIG_FILE: at("config.json"),
    SUPERCARGO_CONTROL_FILE: at("control.json"),
    SUPERCARGO_COUNTER_FILE: at("counters"),
    SUPERCARGO_SERVICE_TOKEN_FILE: at("token"),
    SUPERCARGO_PORT: String(options.port),
    SUPERCARGO_ADMIN_PORT: "0",
  };
}

function configOf({ modelUrl, apiKeys }: PodOptions): GatewayConfig {
  const deployment = {
    name: "one",
    type: "OpenAI",
    baseUrl: `${modelUrl}/v1`,
    model: "m",
    auth: { type: "None" },
    priority: 0,
    weight: 1,
  } as const;
  return {
    agent: { namespace: "bench", name: "agent" },
    models: [{ name: "bench", outputTokensMax: 1024, deployments: [deployment] }],
    orchestrator: { url: modelUrl, audience: "a" },
    apiKeys: apiKeys.map((key, index) => ({
      name: `key-${index}`,
      sha256: createHash("sha256").update(key).digest("hex"),
      principal: `tenant ${index}`,
    })),
    rateLimits: [{ name: "far", per: "Key", mode: "Enforce", requestsPerMinute: RATE, tokensPerMinute: RATE }],
    guardrails: [
      {
        name: "local",
        type: "LocalRules",
        phase: "Input",
        action: "Reject",
        failureMode: "Closed",
        detect: ["Secrets", "Cards", "Emails"],
        denyWords: ["forbidden"],
        allowWords: [],
      },
    ],
    serviceIdentity: { issuer: "i", audience: "a", subjects: [], jwks: { keys: [] } },
  };
}
