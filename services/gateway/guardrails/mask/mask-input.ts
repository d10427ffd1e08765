import { Refusal } from "#core/errors.ts";
import type { Gateway } from "../../gateway.ts";
import type { Turn } from "../../turn.ts";
import type { ModelOperation } from "../../wire/openai.ts";
import type { LocalMatcher } from "../local/matcher.ts";
import { noteGuardrail } from "../note.ts";
import { maskBody } from "./mask-body.ts";

/** A guardrail of the phase Input that replaces what it finds: built once per configuration. */
export interface InputMask {
  readonly name: string;
  readonly matcher: LocalMatcher;
}

/**
 * Puts labels in the place of what the guardrails with the action Mask find in a request, before anything else is made of its body:
 * limits count what goes on, and whom other guardrails ask learns no more than the model. Nothing to wait for where there are none.
 * Throws Refusal `content_filter` where something is found that cannot be replaced, as in a name.
 */
export function maskInput(gateway: Gateway, turn: Turn, operation: ModelOperation): Promise<void> | undefined {
  const masks = turn.snapshot?.inputMasks ?? NONE;
  return masks.length === 0 ? undefined : maskAll(gateway, turn, { masks, operation });
}

const NONE: readonly InputMask[] = [];

async function maskAll(
  gateway: Gateway,
  turn: Turn,
  { masks, operation }: { readonly masks: readonly InputMask[]; readonly operation: ModelOperation },
): Promise<void> {
  const source = turn.caller?.kind === "orchestrator" ? "orchestrator" : "client";
  const isCut = (): boolean => turn.cutter.cutBy() !== undefined;
  for (const { name, matcher } of masks) {
    if (turn.body === undefined) throw new Error("A body must have been read before");
    const masked = await maskBody(turn.body, { operation, source, matcher, work: { steps: 0 }, isCut });
    if (isCut()) throw new Refusal("draining", "Cannot finish the request as the pod is being replaced");
    turn.body = masked.bytes;
    const [rule] = masked.counts.keys();
    const action = rule === undefined ? "Allow" : masked.isPartial ? "Reject" : "Mask";
    const result =
      rule === undefined ? ({ kind: "clean" } as const) : ({ kind: "hit", rule, counts: masked.counts } as const);
    noteGuardrail(gateway, turn, { name, phase: "Input", result, action });
    if (action === "Reject")
      throw new Refusal(
        "content_filter",
        `Cannot accept the request as the guardrail ${name} finds something where it cannot be masked: in a name, or in a tool beside its descriptions`,
      );
  }
}
