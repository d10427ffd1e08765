import { describe, expect, it } from "vitest";
import { findLocalMatches } from "./local-scan.ts";
import { createLocalMatcher } from "./matcher.ts";

/** The two lists of docs/security.md, "What local rules do not see". */

const matcher = createLocalMatcher({
  detect: ["Secrets", "Cards", "Emails"],
  denyWords: ["project nightingale", "café"],
  allowWords: [],
});
const SECRET = `sk-${"aB3dE6gH".repeat(5)}`;
const fullWidth = (text: string): string =>
  text.replaceAll(/[!-~]/g, (character) => String.fromCodePoint(character.charCodeAt(0) + 0xfee0));
const between = (text: string, what: string): string => Array.from(text).join(what);
const found = (text: string): readonly (readonly [string, string])[] =>
  findLocalMatches(matcher, text, { steps: 0 }).map(({ rule, start, end }) => [rule, text.slice(start, end)]);

describe("what is written another way", () => {
  it.each([
    ["a zero-width space in a card", "card", between("4111111111111111", "\u200b")],
    ["joiners in a key", "secret", between(SECRET, "\u2060")],
    ["soft hyphens in a word", "deny_word", "pro\u00adject night\u00adin\u00adgale"],
    ["a variation selector in an address", "email", "ann\ufe0f@exam\ufe0fple.com"],
    ["full-width digits", "card", fullWidth("4111111111111111")],
    ["a full-width address", "email", fullWidth("ann@example.com")],
    ["a full-width key", "secret", fullWidth(SECRET)],
    ["styled letters", "deny_word", "𝐩𝐫𝐨𝐣𝐞𝐜𝐭 𝓷𝓲𝓰𝓱𝓽𝓲𝓷𝓰𝓪𝓵𝓮"],
    ["mixed case", "deny_word", "pRoJeCt NiGhTiNgAlE"],
    ["letters and their marks apart", "deny_word", "CAFE\u0301"],
    ["dashes", "card", "4111-1111-1111-1111"],
    ["other dashes", "card", "4111–1111—1111‑1111"],
    ["dots", "card", "4111.1111.1111.1111"],
    ["strokes", "card", "4111/1111/1111/1111"],
    ["several spaces", "card", "4111  1111 \u00a0 1111\t1111"],
    ["dashes in spaces", "card", "4111 - 1111 - 1111 - 1111"],
    ["a setting in another case", "secret", `accountKEY=${"aB3d".repeat(21)}==`],
    ["a key behind an escape", "secret", `AKIA${"ABCD2345".repeat(2)}`],
  ])("is found: %s", (_, rule, text) => {
    expect(found(`\\n${text}, he said`)).toEqual([[rule, text]]);
    expect(found(`She said: "${text}"`)).toEqual([[rule, text]]);
  });

  it.each([
    ["base64", Buffer.from(SECRET).toString("base64")],
    ["hex", Buffer.from("ann@example.com").toString("hex")],
    ["escapes in a text that is JSON itself", String.raw`\u0034111111111111111`],
    ["digits one by one", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"],
    ["digits of another script", "٤١١١١١١١١١١١١١١١"],
    ["letters that look alike", "рrоjесt nightingale"],
    ["struck through", between("project nightingale", "\u0336")],
  ])("is not found: %s", (_, text) => expect(found(text)).toEqual([]));
});

describe("a whole key", () => {
  it.each([
    ["is masked to its end", `a ${SECRET}xyz b`, `${SECRET}xyz`],
    [
      "with its first part",
      `k=${"aB3d".repeat(13)}JQQJ99${"aB3d".repeat(8)};`,
      `${"aB3d".repeat(13)}JQQJ99${"aB3d".repeat(8)}`,
    ],
    ["of Entra with what stands before its mark", `"abc8Q~${"aB3d".repeat(8)}"`, `abc8Q~${"aB3d".repeat(8)}`],
    [
      "in lines to its end mark, and no further",
      "-----BEGIN PRIVATE KEY-----\nMIIE+/==\n  AAAA\n-----END PRIVATE KEY-----\nHello",
      "-----BEGIN PRIVATE KEY-----\nMIIE+/==\n  AAAA\n-----END PRIVATE KEY-----",
    ],
    [
      "in lines of JSON",
      String.raw`{"k":"-----BEGIN EC PRIVATE KEY-----\nMIIE\n-----END EC PRIVATE KEY-----\n"}`,
      String.raw`-----BEGIN EC PRIVATE KEY-----\nMIIE\n-----END EC PRIVATE KEY-----`,
    ],
    ["but not the full stop behind it", `It is eyJhbGci.eyJzdWIi.c2lnbmF0dXJl.`, "eyJhbGci.eyJzdWIi.c2lnbmF0dXJl"],
  ])("%s", (_, text, secret) => expect(found(text)).toEqual([["secret", secret]]));

  it("leaves the escape whole behind which an address begins", () => {
    expect(found(String.raw`{"a":"\nann@example.com"}`)).toEqual([["email", "ann@example.com"]]);
  });
});
