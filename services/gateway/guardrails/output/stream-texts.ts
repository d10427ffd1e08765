import type { OutputGuardrail } from "./output-guardrail.ts";
import { createTally, type Tally } from "./tally.ts";
import { createTextStage, type TextStage } from "./text-stage.ts";

/** Makes a whole event of what was held back of a text. `sequence` is its number, where events have one. */
export type ToEvent = (tail: string, sequence: number) => string;

/** What was held back of a text that has ended. */
export interface Tail {
  readonly key: string;
  readonly text: string;
  readonly toEvent: ToEvent;
}

/** The texts of one stream, each in pieces over many events, in front of the guardrails that ask nobody. */
export interface StreamTexts {
  /** Whether any text may be held back or changed. */
  readonly holds: boolean;
  /** Takes a piece of the text of that key; gives what of it may go out. `about` is asked once for each text. */
  push(key: string, piece: string, about: () => ToEvent): string;
  /** Ends the texts whose keys begin so; gives what was held back of them, in the order in which they began. */
  end(prefix: string): Tail[];
  /** A text that comes whole. `isRepeated`: it is what deltas have brought, where there were any. */
  whole(text: string, isRepeated: boolean): string;
  /** What each guardrail has found so far, in their order. */
  readonly tallies: readonly Tally[];
}

export interface StreamTextsOptions {
  readonly guardrails: readonly OutputGuardrail[];
  /** Hears each piece as it goes out. */
  readonly heard?: ((key: string, text: string) => void) | undefined;
}

/** Texts of one stream at a time: 128 choices, each with some calls. */
const TEXTS_MAX = 1_024;

export function createStreamTexts({ guardrails, heard }: StreamTextsOptions): StreamTexts {
  const locals = guardrails.filter((guardrail) => guardrail.kind === "local");
  const tallies = locals.map(createTally);
  const texts = new Map<string, { readonly stages: readonly TextStage[]; readonly toEvent: ToEvent }>();
  let hasHeard = false;
  const stagesWith = (counts: readonly Tally[]): TextStage[] =>
    locals.map(({ scan, action }, index) =>
      createTextStage({ scan: scan(), tally: counts[index] ?? createTally(), holds: action !== "Alert" }),
    );
  const openText = (key: string, toEvent: ToEvent): { stages: readonly TextStage[]; toEvent: ToEvent } => {
    if (texts.size >= TEXTS_MAX) throw new Error(`Cannot check a stream as it must have at most ${TEXTS_MAX} texts`);
    const text = { stages: stagesWith(tallies), toEvent };
    texts.set(key, text);
    return text;
  };
  return {
    holds: locals.some(({ action }) => action !== "Alert"),
    tallies,
    push(key, piece, about) {
      const { stages } = texts.get(key) ?? openText(key, about());
      const out = through(stages, piece, false);
      hasHeard = true;
      heard?.(key, out);
      return out;
    },
    end(prefix) {
      const ended = [...texts].filter(([key]) => key.startsWith(prefix));
      return ended.flatMap(([key, { stages, toEvent }]): Tail[] => {
        texts.delete(key);
        const text = through(stages, "", true);
        if (text === "") return [];
        heard?.(key, text);
        return [{ key, text, toEvent }];
      });
    },
    whole(text, isRepeated) {
      const counts = locals.map(createTally);
      const out = through(stagesWith(counts), text, true);
      if (!isRepeated || !hasHeard) heard?.("whole", out);
      // What has been found in pieces is counted already.
      counts.forEach((tally, index) => tallies[index]?.addUnlessAny(tally));
      return out;
    },
  };
}

function through(stages: readonly TextStage[], piece: string, isLast: boolean): string {
  let text = piece;
  for (const stage of stages) text = stage.push(text, isLast);
  return text;
}
