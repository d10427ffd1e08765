import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Control, GatewayConfig } from "#core/api/pod-config.ts";
import type { Surroundings } from "./surroundings.ts";

/** More than any bench counts: the plan's limits are looked at, and never reached. */
const CEILING = "100000000000000";

/** A minute: as far away. */
const RATE = 1_000_000_000;

const RATE_LIMITS: NonNullable<GatewayConfig["rateLimits"]> = [
  { name: "far", per: "Caller", mode: "Enforce", requestsPerMinute: RATE, tokensPerMinute: RATE },
];
const GUARDRAILS: NonNullable<GatewayConfig["guardrails"]> = [
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
];

export interface PodOptions {
  readonly modelUrl: string;
  readonly port: number;
  readonly adminPort: number;
  readonly apiKeys: readonly string[];
  readonly surroundings: Surroundings;
  readonly variant: Variant;
}

/**
 * Everything: keys, hard limits, rates, local guardrails, audit, metrics. Plain: without rates and guardrails. Traced: everything, and
 * that share of the requests sent to a collector.
 */
export type Variant = "everything" | "plain" | "traced 10 %" | "traced 100 %";

const TRACE_RATIOS: Partial<Record<Variant, string>> = { "traced 10 %": "0.1", "traced 100 %": "1" };

/** The files and the environment of a gateway's pod. */
export function writePod(folder: string, options: PodOptions): Record<string, string> {
  mkdirSync(folder);
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
    SUPERCARGO_ADMIN_PORT: String(options.adminPort),
    ...tracing(options),
  };
}

function tracing({ variant, surroundings }: PodOptions): Record<string, string> {
  const ratio = TRACE_RATIOS[variant];
  if (ratio === undefined) return {};
  return { SUPERCARGO_OTLP_ENDPOINT: surroundings.collector, SUPERCARGO_TRACE_RATIO: ratio };
}

function configOf({ modelUrl, apiKeys, variant, surroundings }: PodOptions): GatewayConfig {
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
    oidc: [
      {
        name: "bench",
        issuer: surroundings.issuer,
        audience: surroundings.audience,
        jwksUri: surroundings.jwksUri,
        actors: [],
        roles: [],
        scopes: ["agent"],
      },
    ],
    ...(variant === "plain" ? {} : { rateLimits: RATE_LIMITS, guardrails: GUARDRAILS }),
    serviceIdentity: { issuer: "i", audience: "a", subjects: [], jwks: { keys: [] } },
  };
}
