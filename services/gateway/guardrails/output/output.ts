import type { Gateway } from "../../gateway.ts";
import type { Snapshot } from "../../snapshot.ts";
import type { Turn } from "../../turn.ts";
import type { ModelOperation } from "../../wire/openai.ts";
import { noteGuardrail } from "../note.ts";
import type { OutputCheck } from "./verdict.ts";

/** What goes over the answer of a model; nothing where no guardrail of the phase Output does. Embeddings are no text. */
export function outputCheck(
  gateway: Gateway,
  turn: Turn,
  { snapshot, operation }: { readonly snapshot: Snapshot; readonly operation: ModelOperation },
): OutputCheck | undefined {
  if (!snapshot.hasOutputGuardrails || operation === "embeddings") return undefined;
  return {
    guardrails: gateway.guardrails.outputOf(snapshot),
    shape: operation,
    note: (verdict) => noteGuardrail(gateway, turn, { ...verdict, phase: "Output" }),
  };
}
