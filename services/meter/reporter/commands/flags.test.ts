import { describe, expect, it } from "vitest";
import { EXIT, runCommand } from "./run.ts";

/** What a command says that is never opened: the flags alone decide. */
async function problemsOf(...args: string[]): Promise<string[]> {
  const remarks: string[] = [];
  const code = await runCommand(
    args,
    (text) => void remarks.push(text),
    () => Promise.reject(new Error("opened")),
  );
  expect(code).toBe(EXIT.misread);
  return remarks;
}

const PEOPLE = ["--by", "Ada", "--reason", "Azure's support, case 12"];
const SLOT = ["--hour", "2026112208", "--dimension", "tool_action"];
const SETTLE = ["settle", ...SLOT, "--as", "billed", ...PEOPLE];

/** The arguments with one flag's value replaced. */
function but(args: readonly string[], flag: string, value: string): string[] {
  const at = args.indexOf(flag);
  return args.map((arg, index) => (index === at + 1 ? value : arg));
}

describe("a command line that cannot be read", () => {
  it.each([
    [[""], "Cannot run a command as it must be one of export, settle, unpark: current value is "],
    [["exprot"], "Cannot run a command as it must be one of export, settle, unpark: current value is exprot"],
    [["constructor"], "Cannot run a command as it must be one of export, settle, unpark: current value is constructor"],
    [["export", "--format", "csv"], "Cannot run export: --month must be given, a month in UTC as YYYY-MM"],
    [
      ["export", "--month", "2026-13", "--format", "csv"],
      "Cannot run export: --month must be a month in UTC as YYYY-MM: current value is 2026-13",
    ],
    [
      ["export", "--month", "2026-11", "--format", "xml"],
      "Cannot run export: --format must be csv or json: current value is xml",
    ],
    [
      ["export", "--month", "2026-11", "--formta", "csv"],
      "Cannot run export: --formta is not a flag of export, which takes --month, --format, --release",
    ],
    [
      ["export", "--month", "2026-11", "--month", "2026-12", "--format=csv"],
      "Cannot run export: --month must be given once",
    ],
    [["export", "--month", "2026-11", "--format"], "Cannot run export: --format must have a value, csv or json"],
    [
      ["export", "--month", "2026-11", "--release=yes"],
      "Cannot run export: --release takes no value: current value is yes",
    ],
    [
      ["export", "2026-11", "--month", "2026-11", "--format", "csv"],
      "Cannot run export: export takes flags only: current value is 2026-11",
    ],
    [
      but(SETTLE, "--hour", "2026112224"),
      "Cannot run settle: --hour must be an hour in UTC as YYYYMMDDhh: current value is 2026112224",
    ],
    [
      but(SETTLE, "--dimension", "Tool"),
      "Cannot run settle: --dimension must be a Marketplace dimension such as tool_action: current value is Tool",
    ],
    [but(SETTLE, "--as", "lost"), "Cannot run settle: --as must be billed or not-billed: current value is lost"],
    [
      but(SETTLE, "--by", " "),
      "Cannot run settle: --by must be the name of who decides, 1 to 80 characters: current value is  ",
    ],
    [
      but(SETTLE, "--reason", "two\nlines"),
      "Cannot run settle: --reason must be the reason in words, 1 to 300 characters on one line: current value is two\nlines",
    ],
    [
      ["unpark", ...PEOPLE],
      "Cannot run unpark: --dimension must be given, a Marketplace dimension such as tool_action",
    ],
  ])("%j", async (args, message) => {
    expect(await problemsOf(...args)).toEqual([message]);
  });

  it("is told every problem at once", async () => {
    expect(await problemsOf("settle", "--hour", "8", "--what")).toEqual([
      "Cannot run settle: --hour must be an hour in UTC as YYYYMMDDhh: current value is 8",
      "Cannot run settle: --what is not a flag of settle, which takes --hour, --dimension, --as, --by, --reason, --insist",
      "Cannot run settle: --dimension must be given, a Marketplace dimension such as tool_action",
      "Cannot run settle: --as must be given, billed or not-billed",
      "Cannot run settle: --by must be given, the name of who decides, 1 to 80 characters",
      "Cannot run settle: --reason must be given, the reason in words, 1 to 300 characters on one line",
    ]);
  });
});
