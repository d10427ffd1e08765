import { hash } from "node:crypto";
import { createMemo } from "../identity/memo.ts";

/**
 * Texts that were found clean a moment ago. A conversation is sent again whole with each of its turns; only what is new in it need be
 * asked about. Nothing but hashes of clean texts is kept: a hit or a failure is asked about again.
 */
export interface CleanMemo {
  has(kind: string, text: string, nowMs: number): boolean;
  add(kind: string, text: string, nowMs: number): void;
}

export function createCleanMemo(options: { readonly max: number; readonly lifeMs: number }): CleanMemo {
  const until = createMemo<number>(options.max);
  // SHA-256: whoever could find a clean text with the hash of an attack could let the attack in.
  const keyOf = (kind: string, text: string): string => hash("sha256", `${kind}\n${text}`, "base64");
  return {
    has: (kind, text, nowMs) => (until.get(keyOf(kind, text)) ?? Number.NEGATIVE_INFINITY) > nowMs,
    add: (kind, text, nowMs) => until.set(keyOf(kind, text), nowMs + options.lifeMs),
  };
}
