import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createLocalScan, findLocalMatches, type LocalMatch } from "./local-scan.ts";
import { createLocalMatcher, HOLD_MAX } from "./matcher.ts";

const matcher = createLocalMatcher({
  detect: ["Secrets", "Cards", "Emails"],
  denyWords: ["project nightingale", "nightingale song", "机密", "café", "straße"],
  allowWords: ["help@example.com"],
});
const letters = (count: number): string => "aB3dE6gH".repeat(Math.ceil(count / 8)).slice(0, count);

/** One text in pieces; the rest of a match that goes on belongs to it. */
function inPieces(pieces: readonly string[]): LocalMatch[] {
  const scan = createLocalScan(matcher, { steps: 0 });
  const joined: LocalMatch[] = [];
  for (const match of [...pieces.flatMap((piece) => scan.push(piece)), ...scan.end()]) {
    const last = joined.at(-1);
    if (match.label === "" && last?.end === match.start) joined[joined.length - 1] = { ...last, end: match.end };
    else joined.push(match);
  }
  return joined;
}

const fragment = fc.oneof(
  fc.constantFrom(
    "4111 1111 1111 1111",
    "4111-1111",
    "1111 1111",
    "378282246310005",
    "12 ",
    "ann@example.com",
    "help@example.com",
    "jörg@müller.de",
    "@",
    `sk-${letters(40)}`,
    "sk-",
    `AKIA${"ABCD2345".repeat(2)}`,
    "AKIA",
    `ghp_${letters(36)}`,
    `AccountKey=${letters(44)}==`,
    `eyJ${letters(20)}.eyJ${letters(90)}.${letters(43)}`,
    "eyJ",
    ".eyJ",
    `${letters(52)}JQQJ99${letters(26)}`,
    `abc8Q~${letters(34)}`,
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow",
    "\nAAAA==\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN ",
    "project nightingale",
    "project night",
    "ingale song",
    "Ｐｒｏｊｅｃｔ ",
    "机密",
    "cafe\u0301",
    "Straße",
    letters(70),
    "\\n",
    "\\u0041",
  ),
  fc.constantFrom(" ", ".", "-", ",", "\n", "\u200b", "\u0301", "😀", "\u00ad", "１", "ａ", "a", "1", "=", '"'),
);
const text = fc.array(fragment, { maxLength: 12 }).map((each) => each.join(""));

describe("a text in pieces", () => {
  it("has the same matches however it is cut", () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat(40), { maxLength: 40 }), (whole, lengths) => {
        const expected = findLocalMatches(matcher, whole, { steps: 0 });
        const pieces: string[] = [];
        let at = 0;
        for (const length of lengths) pieces.push(whole.slice(at, (at += length)));
        expect(inPieces([...pieces, whole.slice(at)])).toEqual(expected);
      }),
      { numRuns: 3_000 },
    );
  });

  it("has the same matches when it is cut in two anywhere", () => {
    fc.assert(
      fc.property(text, (whole) => {
        const expected = findLocalMatches(matcher, whole, { steps: 0 });
        for (let at = 0; at <= whole.length; at += 1)
          expect(inPieces([whole.slice(0, at), whole.slice(at)])).toEqual(expected);
      }),
      { numRuns: 100 },
    );
  });

  it("waits for a bounded part of it alone", () => {
    const hostile = fc.constantFrom("eyJ", "a", "\u200b", "\u0301", "4-", "機", ".", "\\");
    fc.assert(
      fc.property(fc.array(fc.oneof(text, hostile), { maxLength: 5 }), (parts) => {
        const pieces = parts.map((part) => (part.length < 4 ? part.repeat(6_000) : part));
        const scan = createLocalScan(matcher, { steps: 0 });
        let length = 0;
        for (const piece of pieces) {
          scan.push(piece);
          length += piece.length;
          expect(length - scan.decidedTo()).toBeLessThanOrEqual(HOLD_MAX + 1);
        }
        scan.end();
        expect(scan.decidedTo()).toBe(length);
      }),
      { numRuns: 200 },
    );
  });

  it("goes out word by word where nothing is found", () => {
    const scan = createLocalScan(matcher, { steps: 0 });
    for (const piece of ["Once upon", " a time, ", "in 2024"]) expect(scan.push(piece)).toEqual([]);
    expect(scan.decidedTo()).toBe("Once upon a time, in ".length);
  });
});
