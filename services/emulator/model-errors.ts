import type { Context } from "koa";
import type { z } from "zod";

/** An error body in OpenAI's shape. */
export function errorBody(error: {
  message: string;
  type: string;
  code: string | null;
  param?: string | null;
}): Record<string, unknown> {
  return { error: { message: error.message, type: error.type, param: error.param ?? null, code: error.code } };
}

/** Answers 400 `invalid_request_error`. */
export function refuseInvalid(context: Context, problem: { message: string; param?: string; status?: number }): void {
  context.status = problem.status ?? 400;
  const { message, param = null } = problem;
  context.body = errorBody({ message, type: "invalid_request_error", code: null, param });
}

/** The first problem of a body, with the field as `param`. */
export function firstProblem(error: z.ZodError): { message: string; param: string } {
  const [issue] = error.issues;
  const param = issue?.path.map(String).join(".") ?? "";
  return { param, message: `Invalid value for '${param}': ${issue?.message ?? "malformed"}.` };
}

/** The body of a status that a script or a fault asks for. */
export function statusBody(status: number): Record<string, unknown> {
  if (status === 429)
    return errorBody({ message: "Rate limit reached", type: "rate_limit_error", code: "rate_limit_exceeded" });
  if (status === 401)
    return errorBody({ message: "Incorrect API key provided", type: "invalid_request_error", code: "invalid_api_key" });
  const type = status < 500 ? "invalid_request_error" : "server_error";
  return errorBody({ message: `Emulated status ${status}`, type, code: null });
}
