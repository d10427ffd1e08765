import type { Control, GatewayConfig } from "#core/api/pod-config.ts";
import type { Caller } from "../identity/auth.ts";
import type { Gateway } from "../gateway.ts";
import type { Turn } from "../turn.ts";
import { createRateLimiter, type RateHold, type RateNeed, RateRefusal, type RateSubjects } from "./limiter.ts";
import type { RateSpec } from "./meter.ts";

/** The rate of the plan, in messages, metrics and audit records. */
const PLAN_LIMIT = "plan";

/** A request as the rates see it. */
interface RatedRequest {
  readonly need: RateNeed;
  readonly work: () => Promise<void>;
}

/** The rates of the configuration and of the plan, as they are at each request. */
export interface Rates {
  /** Takes a place for a request, runs it, and corrects the estimate of its tokens. Rejects or throws with a Refusal. */
  within(gateway: Gateway, turn: Turn, request: RatedRequest): Promise<void>;
}

export function createRates(): Rates {
  const limiter = createRateLimiter();
  let config: GatewayConfig | undefined;
  let features: Control["entitlement"]["features"] | undefined;
  let isLimited = false;

  const follow = (nextConfig: GatewayConfig, nextFeatures: typeof features): void => {
    if (config === nextConfig && features === nextFeatures) return;
    config = nextConfig;
    features = nextFeatures;
    const specs = toSpecs(nextConfig, nextFeatures?.requestsPerMinute);
    isLimited = specs.length > 0;
    limiter.setRates(specs);
  };

  return {
    within(gateway, turn, { need, work }) {
      const { caller, snapshot } = turn;
      if (caller === undefined || snapshot === undefined) return work();
      follow(snapshot.config, gateway.live.control()?.entitlement.features);
      if (!isLimited) return work();
      try {
        const hold = limiter.admit(subjectsOf(caller, snapshot.config), need, gateway.clock.monotonic());
        return hold === undefined ? work() : run(gateway, turn, { hold, work });
      } catch (error) {
        if (error instanceof RateRefusal) noteRefused(gateway, turn, error);
        throw error;
      }
    },
  };
}

async function run(
  gateway: Gateway,
  turn: Turn,
  { hold, work }: { readonly hold: RateHold; readonly work: () => Promise<void> },
): Promise<void> {
  noteHold(gateway, turn, hold);
  try {
    await work();
  } finally {
    hold.settle((turn.outcome.inputTokens ?? 0) + (turn.outcome.outputTokens ?? 0));
  }
}

/** The limits of the spec, each with one rate or two, and the plan's. */
function toSpecs(config: GatewayConfig, planRequests: number | undefined): RateSpec[] {
  const pods = config.pods ?? 1;
  const own = (config.rateLimits ?? []).flatMap(({ name, per, mode, requestsPerMinute, tokensPerMinute }) => {
    const common = { limit: name, per, pods, isShadow: mode === "Shadow" };
    return [
      ...(requestsPerMinute === undefined
        ? []
        : [{ ...common, unit: "requests", perMinute: requestsPerMinute } as const]),
      ...(tokensPerMinute === undefined ? [] : [{ ...common, unit: "tokens", perMinute: tokensPerMinute } as const]),
    ];
  });
  if (planRequests === undefined) return own;
  const plan = { limit: PLAN_LIMIT, unit: "requests", per: "Agent", pods, isShadow: false } as const;
  return [...own, { ...plan, perMinute: planRequests }];
}

function subjectsOf(caller: Caller, config: GatewayConfig): RateSubjects {
  return {
    Key: caller.kind === "key" ? caller.actor : undefined,
    Caller: caller.principal,
    Tenant: tenantOf(caller.principal, config),
    Agent: "agent",
  };
}

/** By the principal, which a run of the agent keeps: TENANT/OBJECT of Entra, ISSUER#SUBJECT of others, none of a key. */
function tenantOf(principal: string, { oidc = [] }: GatewayConfig): string | undefined {
  for (const { issuer, entra } of oidc) {
    const tenant = entra === undefined ? `${issuer}#` : `${entra.tenantId}/`;
    if (principal.startsWith(tenant)) return tenant;
  }
  return undefined;
}

function noteHold(gateway: Gateway, turn: Turn, hold: RateHold): void {
  turn.rateHeaders = hold.near.length === 0 ? hold.headers : { ...hold.headers, [NEAR_HEADER]: namesOf(hold.near) };
  for (const { limit, unit } of hold.shadowed) gateway.metrics.rateLimited.inc({ limit, unit, mode: "shadow" });
  for (const { limit, unit } of hold.near) gateway.metrics.rateLimitNear.inc({ limit, unit });
  if (hold.shadowed.length > 0) turn.outcome.rateLimits = hold.shadowed.map(({ limit }) => `${limit}=Shadow`).join(" ");
}

/** On an answer that leaves a limit used to 80 % or more: which. */
const NEAR_HEADER = "x-supercargo-rate-limit-near";

function namesOf(specs: readonly RateSpec[]): string {
  return [...new Set(specs.map(({ limit }) => limit))].join(", ");
}

function noteRefused(gateway: Gateway, turn: Turn, { spec, headers }: RateRefusal): void {
  turn.rateHeaders = headers;
  gateway.metrics.rateLimited.inc({ limit: spec.limit, unit: spec.unit, mode: "enforce" });
}
