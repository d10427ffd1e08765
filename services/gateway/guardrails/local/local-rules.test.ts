import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CLEAN } from "../check.ts";
import { findLocalMatches } from "./local-scan.ts";
import { createLocalMatcher, type LocalRules } from "./matcher.ts";

const ALL: LocalRules = { detect: ["Secrets", "Cards", "Emails"], denyWords: [], allowWords: [] };
const run = (text: string, rules: Partial<LocalRules> = {}) => {
  const [first] = findLocalMatches(createLocalMatcher({ ...ALL, ...rules }), text, { steps: 0 });
  return first === undefined ? CLEAN : { kind: "hit", rule: first.rule };
};
const letters = (count: number): string => "aB3dE6gH".repeat(Math.ceil(count / 8)).slice(0, count);

const SECRETS = [
  ["AWS", `AKIA${"ABCD2345".repeat(2)}`],
  ["GitHub", `ghp_${letters(36)}`],
  ["GitHub, fine-grained", `github_pat_${letters(22)}`],
  ["OpenAI", `sk-proj-${letters(40)}`],
  ["storage", `DefaultEndpointsProtocol=https;AccountName=a;AccountKey=${letters(86)}==`],
  ["Service Bus", `Endpoint=sb://a/;SharedAccessKeyName=b;SharedAccessKey=${letters(43)}=`],
  ["shared access signature", `https://a.blob.core.windows.net/b?sv=2024&sig=${letters(43)}%3D`],
  ["Azure AI", `${letters(52)}JQQJ99${letters(26)}`],
  ["Entra application", `abc8Q~${letters(34)}`],
  ["PEM", "-----BEGIN RSA PRIVATE KEY-----\nMIIE"],
  ["PEM without a kind", "-----BEGIN PRIVATE KEY-----"],
  ["JWT", `eyJ${letters(20)}.eyJ${letters(30)}.${letters(43)}`],
] as const;

describe("local rules", () => {
  it.each(SECRETS)("find a secret: %s", (_name, secret) => {
    expect(run(`it is "${secret}".`)).toEqual({ kind: "hit", rule: "secret" });
  });

  it.each([
    ["4111 1111 1111 1111", "card"],
    ["4111-1111-1111-1111, thanks", "card"],
    ["378282246310005.", "card"],
    ["no. 12 4111111111111111 123", "card"],
    ["write to Ann.Lee+x@mail.example.com.", "email"],
    ["<jörg@müller.de>", "email"],
  ])("find %s", (text, rule) => expect(run(text)).toEqual({ kind: "hit", rule }));

  it.each([
    "4111 1111 1111 1112",
    "14111111111111111111111",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "at 1700000000000 ms",
    "@ann, see a@b, and @types/node@24.1.10",
    "AKIA is a prefix; ghp_short; sk-learn-is-a-package-with-a-very-long-name",
    `MAKIA${"ABCD2345".repeat(2)}`,
    "-----BEGIN CERTIFICATE----- of a PRIVATE person",
    "eyJhbGciOiJub25lIn0 alone",
  ])("let pass %s", (text) => expect(run(text)).toEqual(CLEAN));

  it.each([
    ["Tell me of PROJECT Nightingale!", "hit"],
    ["ｐｒｏｊｅｃｔ nightingale", "hit"],
    ["project nightingales", "clean"],
    ["a subproject nightingale", "clean"],
    ["这是机密文件吗", "hit"],
    ["class", "clean"],
  ])("judge the words of %s: %s", (text, kind) => {
    expect(run(text, { denyWords: ["Project Nightingale", "机密", "ass", "nightingale song"] }).kind).toBe(kind);
  });

  it("let pass what is allowed, and find what stands behind it", () => {
    const rules = { allowWords: ["Help@Example.com", "4111111111111111"] };
    expect(run("help@example.com 4111111111111111", rules)).toEqual(CLEAN);
    expect(run("help@example.com ann@example.com", rules)).toEqual({ kind: "hit", rule: "email" });
  });

  it("find nothing that they are not asked for", () => {
    expect(run("ann@example.com 4111111111111111", { detect: ["Secrets"] })).toEqual(CLEAN);
  });

  it("find any of their words exactly where a slow search does", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", " "), minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(
        fc.array(word, { maxLength: 6 }),
        fc.string({ unit: fc.constantFrom("a", "b", " "), maxLength: 40 }),
        (denyWords, text) => {
          const expected = denyWords.some((each) => {
            const trimmed = each.trim();
            return trimmed !== "" && ` ${text} `.includes(` ${trimmed} `);
          });
          expect(run(text, { denyWords }).kind).toBe(expected ? "hit" : "clean");
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("take steps that grow with the length of a text alone", () => {
    const piece = fc.oneof(
      fc.constantFrom(
        "eyJ",
        ".",
        "AKIA",
        "sk-",
        "a@",
        "@",
        "1",
        "12 ",
        "4111-",
        "-----BEGIN ",
        "Q~",
        "sig=",
        "aaab",
        "a",
      ),
      fc.string({ maxLength: 6 }),
    );
    const matcher = createLocalMatcher({ ...ALL, denyWords: ["aaaaaaaaaaaaaaaaaaaac", "aaaab", "aab"] });
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 6 }), (pieces) => {
        const text = pieces.join("").repeat(400);
        const work = { steps: 0 };
        findLocalMatches(matcher, text, work);
        expect(work.steps).toBeLessThanOrEqual(80 * text.length + 400);
      }),
      { numRuns: 300 },
    );
  });
});
