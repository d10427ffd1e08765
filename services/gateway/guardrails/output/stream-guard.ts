import type { StreamGuard } from "../../upstream/events.ts";
import { createEventRewriter } from "./event-rewriter.ts";
import type { OutputCheck } from "./verdict.ts";
import { createWindowGate } from "./window-gate.ts";

/** All guardrails of one stream: first those that ask nobody, then, a window at a time, the others. */
export function createStreamGuard(check: OutputCheck): StreamGuard {
  const gate = check.guardrails.hasRemote ? createWindowGate(check) : undefined;
  const rewriter = createEventRewriter({ check, heard: gate && ((key, text) => gate.hear(key, text)) });
  return {
    push: (block) => rewriter.push(block),
    refusal: () => rewriter.refusal(),
    added: () => rewriter.added(),
    close() {
      rewriter.close();
      if (!rewriter.isGivenUp()) gate?.close();
    },
    gate,
  };
}
