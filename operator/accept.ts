import type { AgentDeploymentSpec } from "#core/api/agent-deployment.ts";
import type { ConditionReason } from "#core/api/conditions.ts";
import { DECLARED_DIMENSIONS_MAX } from "#core/tool-usage.ts";

/** Why a spec, or what it refers to, cannot be served as it stands. The message says what to do. */
export interface Problem {
  readonly reason: Exclude<ConditionReason<"Accepted">, "Accepted">;
  readonly message: string;
  /** Blocking: the children stay as the last accepted generation made them. */
  readonly blocking: "Yes" | "No";
}

/** One rule: what the schema allows and this version cannot enforce. Serving without it would be a silent lie. */
type Rule = (spec: AgentDeploymentSpec) => readonly string[];

const RULES: readonly Rule[] = [
  (spec) => {
    const declared = new Set(spec.tools?.flatMap((tool) => tool.functions.flatMap(declaredDimensions)));
    if (declared.size <= DECLARED_DIMENSIONS_MAX) return [];
    return [
      unsupported(`spec.tools with ${declared.size} declared dimensions`, `use at most ${DECLARED_DIMENSIONS_MAX}`),
    ];
  },
  (spec) => (spec.limits?.length ? [unsupported("spec.limits", "use spec.budgets and the limits of functions")] : []),
  (spec) =>
    (["tokens", "durationSeconds", "costMicros"] as const)
      .filter((name) => spec.budgets[name] !== undefined)
      .map((name) => unsupported(`spec.budgets.${name}`, "use turns and toolCalls")),
  (spec) =>
    (["turns", "toolCalls"] as const)
      .filter((name) => (spec.budgets[name]?.onBreach ?? "Stop") !== "Stop")
      .map((name) => unsupported(`spec.budgets.${name}.onBreach ${spec.budgets[name]?.onBreach ?? ""}`, "use Stop")),
  (spec) =>
    spec.exposure.type === "ClusterIP"
      ? []
      : [unsupported(`spec.exposure.type ${spec.exposure.type}`, "use ClusterIP and a route of yours to the Service")],
  (spec) => (spec.exposure.host === undefined ? [] : [unsupported("spec.exposure.host", "remove it")]),
  (spec) =>
    spec.orchestrator.autoscaling === undefined
      ? []
      : [unsupported("spec.orchestrator.autoscaling", "remove it: its journal has one writer")],
  (spec) =>
    spec.orchestrator.storage.type === "PostgreSQL"
      ? [unsupported("spec.orchestrator.storage.type PostgreSQL", "use Volume")]
      : [],
  (spec) =>
    spec.approvals.callers === "Allowed" ? [unsupported("spec.approvals.callers Allowed", "use Forbidden")] : [],
];

function declaredDimensions(entry: {
  readonly usage?: readonly { readonly dimension: string }[] | undefined;
}): string[] {
  return (entry.usage ?? []).map(({ dimension }) => dimension);
}

/** Every field that this version does not support, each with what to do. */
export function unsupportedFields(spec: AgentDeploymentSpec): Problem[] {
  return RULES.flatMap((rule) => rule(spec)).map((message) => ({ reason: "NotSupported", message, blocking: "Yes" }));
}

/** The Secrets that a pod waits for, out of the kubelet's own words. */
export function secretProblems(messages: readonly string[], known: ReadonlyMap<string, readonly string[]>): Problem[] {
  const problems = messages.flatMap((message) => secretProblem(message, known));
  return problems.filter(
    (problem, index) => problems.findIndex((other) => other.message === problem.message) === index,
  );
}

function secretProblem(message: string, known: ReadonlyMap<string, readonly string[]>): Problem[] {
  const missing = /secret "([^"]+)" not found/.exec(message)?.[1];
  if (missing !== undefined && known.has(missing))
    return [secretNotFound(`Secret ${missing} must exist in this namespace`)];
  const key = /references non-existent secret key: (\S+)/.exec(message)?.[1];
  const holder = [...known].find(([, keys]) => key !== undefined && keys.includes(key));
  return holder && key !== undefined ? [secretNotFound(`Secret ${holder[0]} must hold the key ${key}`)] : [];
}

function secretNotFound(message: string): Problem {
  return { reason: "SecretNotFound", message, blocking: "No" };
}

function unsupported(what: string, instead: string): string {
  return `${what} is not supported by this version: ${instead}`;
}
