import { type GuardrailSpec, HARM_CATEGORIES } from "#core/api/guardrails.ts";
import type { GatewayGuardrail, UpstreamAuth } from "#core/api/pod-config.ts";

const SEVERITY_MIN = 4;

/** A guardrail as the gateway reads it; nothing for a type that this version does not know how to serve. */
export function toGatewayGuardrail(
  guardrail: GuardrailSpec,
  toAuth: (auth: NonNullable<GuardrailSpec["contentSafety"]>["auth"]) => UpstreamAuth,
): GatewayGuardrail[] {
  const { name, type, phase, action, failureMode, contentSafety } = guardrail;
  const common = { name, phase, action, failureMode };
  if (type === "AzureContentFilter") return [{ type, ...common }];
  if (type === "LocalRules") return [{ type, ...common, ...toLocalRules(guardrail.localRules) }];
  if (contentSafety === undefined) return [];
  const service = {
    endpoint: contentSafety.endpoint.replace(/\/+$/, ""),
    auth: toAuth(contentSafety.auth),
    timeoutMs: contentSafety.timeoutMs,
  };
  if (type === "PromptShields") return [{ type, ...common, ...service }];
  return [{ type, ...common, ...service, ...toRules(guardrail.analyzeText) }];
}

function toLocalRules(
  rules: GuardrailSpec["localRules"],
): Pick<Extract<GatewayGuardrail, { type: "LocalRules" }>, "detect" | "denyWords" | "allowWords"> {
  return {
    detect: [...(rules?.detect ?? [])],
    denyWords: [...(rules?.denyWords ?? [])],
    allowWords: [...(rules?.allowWords ?? [])],
  };
}

function toRules(analyze: GuardrailSpec["analyzeText"]): {
  readonly categories: { readonly category: (typeof HARM_CATEGORIES)[number]; readonly severityMin: number }[];
  readonly blocklists: string[];
} {
  const categories =
    analyze?.categories ?? HARM_CATEGORIES.map((category) => ({ name: category, severityMin: SEVERITY_MIN }));
  return {
    categories: categories.map((each) => ({ category: each.name, severityMin: each.severityMin })),
    blocklists: [...(analyze?.blocklists ?? [])],
  };
}
