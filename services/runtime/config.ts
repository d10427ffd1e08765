import type { z } from "zod";

/** Every problem of a configuration at once; the message is a list, one line each, ready for a person. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(subject: string, problems: readonly string[]) {
    super(`Cannot use ${subject}:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}

export interface ParseOptions {
  /** What is parsed, for the message: "the environment", "catalogue.yaml". */
  readonly subject: string;
  /** Fields whose values must not be repeated in a message. */
  readonly secrets?: readonly string[];
}

/** Parses untrusted input by its schema. Throws ConfigError with all problems, each with field, rule and current value. */
export function parseConfig<S extends z.ZodType>(schema: S, input: unknown, options: ParseOptions): z.output<S> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => describeIssue(issue, input, options.secrets ?? []));
  // A text where a list must be is also too long a list for zod.
  throw new ConfigError(options.subject, [...new Set(problems)]);
}

/** One zod issue as a sentence: field, what is wrong, current value (cut to 80 characters, hidden for secrets). */
export function describeIssue(issue: z.core.$ZodIssue, input: unknown, secrets: readonly string[] = []): string {
  const field = issue.path.map(String).join(".") || "(root)";
  const value = valueAt(input, issue.path);
  if (value === undefined) return `${field}: ${issue.message}`;
  const hidden = secrets.some((secret) => field === secret || field.startsWith(`${secret}.`));
  return `${field}: ${issue.message}: current value is ${hidden ? "(hidden)" : shorten(value)}`;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

function shorten(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
