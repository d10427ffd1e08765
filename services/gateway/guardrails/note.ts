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
  const why = result.kind === "hit" ? `:${result.rule}` : result.kind === "failed" ? `:${result.reason}` : "";
  const before = turn.outcome.guardrails;
  turn.outcome.guardrails = `${before === undefined ? "" : `${before} `}${name}=${action}${why}`;
  gateway.metrics.guardrailChecks.inc({ guardrail: name, phase, action });
  if (result.kind === "failed") gateway.metrics.guardrailFailures.inc({ guardrail: name, reason: result.reason });
}
