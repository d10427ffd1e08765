import type { GatewayGuardrail } from "#core/api/pod-config.ts";
import type { CheckResult } from "../check.ts";
import type { TextScan } from "./text-stage.ts";

interface Common {
  readonly name: string;
  readonly action: GatewayGuardrail["action"];
  readonly failureMode: GatewayGuardrail["failureMode"];
}

/** A guardrail of the phase Output made ready: built once per configuration. */
export type OutputGuardrail =
  /** Finds on its own, and knows where; `scan` begins a text. */
  | (Common & { readonly kind: "local"; readonly scan: () => TextScan })
  /** Asks somebody whether texts may pass. It throws only what nobody expected; `cut` ends it early. */
  | (Common & {
      readonly kind: "remote";
      readonly check: (texts: readonly string[], cut: AbortSignal) => Promise<CheckResult>;
    });

/** Those of a configuration: first those that ask nobody, then the others, each in their order. */
export interface OutputGuardrails {
  readonly list: readonly OutputGuardrail[];
  /** Whether any of them asks somebody, so that an answer waits. */
  readonly hasRemote: boolean;
}
