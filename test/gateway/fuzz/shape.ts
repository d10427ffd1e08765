import { z } from "zod";
import { type ErrorCode, errorEntry, isErrorCode } from "../../../services/core/errors.ts";
import type { Answer } from "./raw.ts";

const bodySchema = z.strictObject({
  error: z.strictObject({
    message: z.string().min(1),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string(),
  }),
});

/** What an error of ours must be; the first that does not hold is what is wrong. */
const RULES: readonly (readonly [string, (answer: Answer, code: ErrorCode, type: string) => boolean])[] = [
  ["it must have an id", ({ headers }) => /^[\w.-]{1,128}$/.test(headers["x-request-id"] ?? "")],
  ["it must not be an internal error", (_, code) => code !== "internal_error"],
  ["its status must fit its code", (answer, code) => hasStatus(answer, errorEntry(code).status)],
  ["its type must fit its code", (_, code, type) => errorEntry(code).type === type],
  ["it must be JSON", ({ headers }) => headers["content-type"]?.startsWith("application/json") ?? false],
  [
    "it must say that no repetition helps",
    (answer, code) => errorEntry(code).next !== "stop" || answer.headers["x-should-retry"] === "false",
  ],
  [
    "it must say how long to wait",
    ({ headers }, code) => errorEntry(code).next !== "wait" || /^\d+$/.test(headers["retry-after"] ?? ""),
  ],
  ["it must name the challenge", ({ status, headers }) => status !== 401 || "www-authenticate" in headers],
];

/** The code of an answer that is one of ours. Throws with what is wrong when it is none of docs/errors.md, or says it wrongly. */
export function codeOf(answer: Answer): ErrorCode {
  const fail = (problem: string): never => {
    const shown = `${answer.status} ${JSON.stringify(answer.headers)} ${answer.body.toString("latin1").slice(0, 300)}`;
    throw new Error(`Not one of our errors, as ${problem}: ${answer.end} ${shown}`);
  };
  if (answer.end !== "whole") return fail("it has no end");
  const parsed = bodySchema.safeParse(parse(answer.body));
  if (!parsed.success) return fail("its body must have OpenAI's shape");
  const { code, type } = parsed.data.error;
  if (!isErrorCode(code)) return fail("its code must be in the table");
  const broken = RULES.find(([, holds]) => !holds(answer, code, type));
  return broken === undefined ? code : fail(broken[0]);
}

/** Headers that are too large have no row of their own. */
function hasStatus(answer: Answer, status: number): boolean {
  return answer.status === status || (answer.status === 431 && status === 413);
}

/** The error's code, or `ok` for a status of success. */
export function verdictOf(answer: Answer): string {
  return answer.status >= 200 && answer.status < 300 ? "ok" : codeOf(answer);
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}
