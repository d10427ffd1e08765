import { parseArgs } from "node:util";

/** One flag of a command. */
export interface Flag {
  /** What is allowed, as a person reads it; a flag without it takes no value. */
  readonly allowed?: string;
  readonly accepts?: (value: string) => boolean;
  readonly required?: boolean;
}

export type Flags = Readonly<Record<string, Flag>>;

/** What was given: values, and flags without one as "true". */
export type Given = Readonly<Record<string, string | undefined>>;

export type ParsedFlags =
  | { readonly ok: true; readonly given: Given }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Reads the flags of a command: every problem at once, each with the flag, what is allowed, and the value. */
export function parseFlags(command: string, flags: Flags, args: readonly string[]): ParsedFlags {
  const { tokens } = parseArgs({ args: [...args], strict: false, tokens: true, options: optionsOf(flags) });
  const given: Record<string, string> = {};
  const problems: string[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token.kind === "positional" && !isValueOfUnknown(tokens[index - 1], flags))
      problems.push(`${command} takes flags only: current value is ${token.value}`);
    if (token.kind !== "option") continue;
    const problem = judgeOption(command, flags, { ...token, isRepeated: given[token.name] !== undefined });
    if (problem === undefined) given[token.name] = token.value ?? "true";
    else problems.push(problem);
  }
  const named = tokens.flatMap((token) => (token.kind === "option" ? [token.name] : []));
  problems.push(...missingOf(flags, named));
  return problems.length === 0 ? { ok: true, given } : { ok: false, problems };
}

function missingOf(flags: Flags, named: readonly string[]): string[] {
  return Object.entries(flags)
    .filter(([name, flag]) => flag.required === true && !named.includes(name))
    .map(([name, flag]) => `--${name} must be given, ${flag.allowed ?? ""}`);
}

/** The value of a flag; of a required one, that has been read, it is never empty. */
export function valueOf(given: Given, name: string): string {
  return given[name] ?? "";
}

/** `--formta csv`: one mistake, not two. */
function isValueOfUnknown(
  before: { readonly kind: string; readonly name?: string } | undefined,
  flags: Flags,
): boolean {
  return before?.kind === "option" && before.name !== undefined && !Object.hasOwn(flags, before.name);
}

function judgeOption(
  command: string,
  flags: Flags,
  option: { readonly name: string; readonly value?: string | undefined; readonly isRepeated: boolean },
): string | undefined {
  const { name, value } = option;
  const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
  if (!flag) return `--${name} is not a flag of ${command}, which takes ${Object.keys(flags).map(dashed).join(", ")}`;
  if (option.isRepeated) return `--${name} must be given once`;
  if (flag.allowed === undefined)
    return value === undefined ? undefined : `--${name} takes no value: current value is ${value}`;
  if (value === undefined) return `--${name} must have a value, ${flag.allowed}`;
  return flag.accepts?.(value) === false ? `--${name} must be ${flag.allowed}: current value is ${value}` : undefined;
}

function optionsOf(flags: Flags): Record<string, { readonly type: "string" | "boolean" }> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, flag]) => [name, { type: flag.allowed === undefined ? "boolean" : "string" }]),
  );
}

function dashed(name: string): string {
  return `--${name}`;
}
