import { Refusal } from "#core/errors.ts";
import type { Gateway } from "../gateway.ts";
import type { ModelOperation } from "../wire/openai.ts";
import type { Snapshot } from "../snapshot.ts";
import type { Turn } from "../turn.ts";
import { decideGuardrail, type InputGuardrail } from "./guardrail.ts";
import { noteGuardrail } from "./note.ts";
import { type RequestTexts, requestTexts } from "./request-texts.ts";

/**
 * Asks the guardrails of the phase Input about a request, in their order; the first that rejects ends it. Nothing to wait for where there
 * are none. Throws Refusal `content_filter` for a hit, and where one could not tell and fails closed `guardrail_unavailable`, or
 * `request_too_large` for a text that is longer than it can check.
 */
export function guardInput(gateway: Gateway, turn: Turn, operation: ModelOperation): Promise<void> | undefined {
  const { snapshot } = turn;
  if (snapshot === undefined || !snapshot.hasInputGuardrails) return undefined;
  return askAll(gateway, turn, { snapshot, operation });
}

async function askAll(
  gateway: Gateway,
  turn: Turn,
  { snapshot, operation }: { readonly snapshot: Snapshot; readonly operation: ModelOperation },
): Promise<void> {
  if (turn.body === undefined) throw new Error("A body must have been read before");
  const source = turn.caller?.kind === "orchestrator" ? "orchestrator" : "client";
  const texts = requestTexts(operation, turn.body, source);
  const cut = new AbortController();
  turn.cutter.onCut(() => cut.abort());
  const startMs = gateway.clock.monotonic();
  try {
    for (const guardrail of gateway.guardrails.inputOf(snapshot)) await ask(gateway, turn, { guardrail, texts, cut });
  } finally {
    turn.cutter.onCut(undefined);
    turn.waitedMs += gateway.clock.monotonic() - startMs;
  }
}

async function ask(
  gateway: Gateway,
  turn: Turn,
  call: { readonly guardrail: InputGuardrail; readonly texts: RequestTexts; readonly cut: AbortController },
): Promise<void> {
  const { guardrail, texts, cut } = call;
  const result = await guardrail.check(texts, cut.signal);
  if (cut.signal.aborted) throw new Refusal("draining", "Cannot finish the request as the pod is being replaced");
  const action = decideGuardrail(guardrail, result);
  noteGuardrail(gateway, turn, { name: guardrail.name, phase: "Input", result, action });
  if (action === "Reject" || action === "Mask")
    throw new Refusal("content_filter", `Cannot accept the request as the guardrail ${guardrail.name} refuses it`);
  if (action !== "FailClosed") return;
  if (result.kind === "failed" && result.reason === "too_long")
    throw new Refusal(
      "request_too_large",
      `Cannot accept the request as its text must be of a length that the guardrail ${guardrail.name} can check`,
    );
  throw new Refusal(
    "guardrail_unavailable",
    `Cannot serve as the guardrail ${guardrail.name} could not check the request`,
  );
}
