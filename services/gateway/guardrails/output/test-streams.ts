import fc from "fast-check";
import { createLocalScan, findLocalMatches } from "../local/local-scan.ts";
import { createLocalMatcher } from "../local/matcher.ts";
import { createEventRewriter, type EventRewriter } from "./event-rewriter.ts";
import type { OutputGuardrail } from "./output-guardrail.ts";
import type { OutputVerdict } from "./verdict.ts";

/** What the tests of answers share: rules, texts in which they find something, and streams of them. */

const matcher = createLocalMatcher({
  detect: ["Secrets", "Cards", "Emails"],
  denyWords: ["project nightingale", "nightingale song"],
  allowWords: ["help@example.com"],
});

export function localGuardrail(
  action: OutputGuardrail["action"],
  changed: Partial<Pick<OutputGuardrail, "name" | "failureMode">> = {},
): OutputGuardrail {
  const scan = () => createLocalScan(matcher, { steps: 0 });
  return { kind: "local", name: "local", failureMode: "Closed", ...changed, action, scan };
}

/** A whole text with labels in it. */
export function masked(text: string): string {
  let out = "";
  let at = 0;
  for (const { start, end, label } of findLocalMatches(matcher, text, { steps: 0 })) {
    out += text.slice(at, start) + label;
    at = end;
  }
  return out + text.slice(at);
}

export function rewriterOf(
  shape: "chat" | "responses",
  list: readonly OutputGuardrail[],
): EventRewriter & { readonly verdicts: OutputVerdict[] } {
  const verdicts: OutputVerdict[] = [];
  const note = (verdict: OutputVerdict): void => void verdicts.push(verdict);
  const rewriter = createEventRewriter({ check: { guardrails: { list, hasRemote: false }, shape, note } });
  return {
    push: (block) => rewriter.push(block),
    refusal: () => rewriter.refusal(),
    added: () => rewriter.added(),
    close: () => rewriter.close(),
    isGivenUp: () => rewriter.isGivenUp(),
    verdicts,
  };
}

const key = "aB3dE6gH".repeat(5);

/** Texts of which some hold what is looked for, whole or nearly. */
export const textOfAModel: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "4111 1111 1111 1111",
        "4111-1111",
        "ann@example.com",
        "help@example.com",
        "@",
        `sk-${key}`,
        "AKIA",
        `eyJ${key}.eyJ${key}.${key}`,
        "project nightingale",
        "project night",
        "ingale song",
        "\\n",
        '"',
        "\n",
        "😀",
      ),
      fc.constantFrom(" ", ", ", ". ", "a", "1", "é"),
    ),
    { maxLength: 10 },
  )
  .map((pieces) => pieces.join(""));

/** A text in pieces, cut anywhere. */
export function cutUp(text: string, lengths: readonly number[]): string[] {
  const pieces: string[] = [];
  let at = 0;
  for (const length of lengths) {
    if (at >= text.length) break;
    pieces.push(text.slice(at, at + length));
    at += length;
  }
  if (at < text.length) pieces.push(text.slice(at));
  return pieces;
}

/** The data of each event, parsed; `[DONE]` as it is. */
export function dataOf(block: string): unknown[] {
  return block
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => {
      const data = /^data: (.*)$/m.exec(event)?.[1] ?? "";
      return data === "[DONE]" ? data : parse(data);
    });
}

function parse(text: string): unknown {
  return JSON.parse(text);
}
