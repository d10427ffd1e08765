import type { Gateway } from "../gateway.ts";
import type { Turn } from "../turn.ts";
import type { CheckResult } from "./check.ts";
import type { GuardrailAction } from "./guardrail.ts";

/** What one guardrail said about one request. */
interface GuardrailNote {
  readonly name: string;
  readonly phase: "Input" | "Output";
  readonly result: CheckResult;
  readonly action: GuardrailAction;
}

/** Name, action and rule or reason, in metrics and in the audit record: never a text. */
export function noteGuardrail(gateway: Gateway, turn: Turn, { name, phase, result, action }: GuardrailNote): void {
  const why = result.kind === "hit" ? `:${rulesOf(result)}` : result.kind === "failed" ? `:${result.reason}` : "";
  const before = turn.outcome.guardrails;
  turn.outcome.guardrails = `${before === undefined ? "" : `${before} `}${name}=${action}${why}`;
  gateway.metrics.guardrailChecks.inc({ guardrail: name, phase, action });
  if (result.kind === "hit")
    for (const [rule, count] of result.counts ?? [])
      gateway.metrics.guardrailMatches.inc({ guardrail: name, phase, rule }, count);
  if (result.kind === "failed") gateway.metrics.guardrailFailures.inc({ guardrail: name, reason: result.reason });
}

/** `card*2,email`: numbers where they are known. */
function rulesOf({ rule, counts }: Extract<CheckResult, { kind: "hit" }>): string {
  if (counts === undefined) return rule;
  return [...counts].map(([name, count]) => (count === 1 ? name : `${name}*${count}`)).join(",");
}
