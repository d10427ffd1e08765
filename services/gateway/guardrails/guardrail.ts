import type { GatewayGuardrail } from "#core/api/pod-config.ts";
import type { CheckResult } from "./check.ts";
import type { RequestTexts } from "./request-texts.ts";

/** A guardrail of the phase Input made ready: built once per configuration, asked once per request. */
export interface InputGuardrail {
  readonly name: string;
  readonly action: GatewayGuardrail["action"];
  readonly failureMode: GatewayGuardrail["failureMode"];
  /** What became of it stands in the result; it throws only what nobody expected. `cut` ends it early. */
  readonly check: (texts: RequestTexts, cut: AbortSignal) => Promise<CheckResult>;
}

/** What a guardrail's answer has led to: a closed set, also values of a label. */
export type GuardrailAction = "Allow" | "Alert" | "Mask" | "Reject" | "FailOpen" | "FailClosed";

/** What a result means under a guardrail's action and failure mode. */
export function decideGuardrail(
  guardrail: Pick<InputGuardrail, "action" | "failureMode">,
  result: CheckResult,
): GuardrailAction {
  switch (result.kind) {
    case "clean":
      return "Allow";
    case "hit":
      return guardrail.action;
    case "failed":
      return guardrail.failureMode === "Open" ? "FailOpen" : "FailClosed";
  }
}
