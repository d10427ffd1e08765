import type { Tally } from "./tally.ts";

/** One text that comes in pieces in front of a guardrail; all places are UTF-16 units from its beginning. */
export interface TextScan {
  /** Takes more of the text. Returns what is decided now, in order, none over another. */
  push(piece: string): readonly TextMatch[];
  /** The text is whole. */
  end(): readonly TextMatch[];
  /** Up to here all is decided: each match before it has been returned. */
  decidedTo(): number;
}

/** What was found; `end` is behind it. */
export interface TextMatch {
  readonly rule: string;
  readonly start: number;
  readonly end: number;
  /** What stands for it, as `[card]`; nothing where the match before goes on. */
  readonly label: string;
}

/** How one guardrail goes over one text that comes in pieces. */
export interface TextStageOptions {
  readonly scan: TextScan;
  readonly tally: Tally;
  /** Whether what it finds is replaced or ends the answer; else the text passes as it comes, and what is found is only noted. */
  readonly holds: boolean;
}

/** Takes a text in pieces; holds back only what may be part of a match that is not complete yet. */
export interface TextStage {
  /** Gives the part that is decided, labels in the place of what was found. `isLast`: nothing follows, so that all is. */
  push(piece: string, isLast: boolean): string;
}

export function createTextStage({ scan, tally, holds }: TextStageOptions): TextStage {
  let pending = "";
  let base = 0;
  return {
    push(piece, isLast) {
      const matches = piece === "" ? [] : [...scan.push(piece)];
      if (isLast) matches.push(...scan.end());
      for (const { rule, label } of matches) if (label !== "") tally.add(rule);
      if (!holds) return piece;
      pending += piece;
      let out = "";
      let at = base;
      for (const { start, end, label } of matches) {
        out += pending.slice(at - base, start - base) + label;
        at = end;
      }
      const to = isLast ? base + pending.length : scan.decidedTo();
      out += pending.slice(at - base, to - base);
      pending = pending.slice(to - base);
      base = to;
      return out;
    },
  };
}
