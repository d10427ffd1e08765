import type { Context, Middleware } from "koa";
import { z } from "zod";
import { describeIssue } from "#runtime/config.ts";
import { readJson } from "./endpoint.ts";

const BODY_BYTES_MAX = 1024 * 1024;

/** One thing the control API does. */
interface Command<S extends z.ZodType> {
  readonly schema: S;
  readonly run: (input: z.output<S>, context: Context) => unknown;
  /** @default 1048576 */
  readonly bodyBytesMax?: number;
}

/** Runs a command on a JSON body that its schema takes; what it returns is the answer, unless it refused. */
export function command<S extends z.ZodType>({ schema, run, bodyBytesMax }: Command<S>): Middleware {
  return async (context) => {
    const body = hasBody(context)
      ? await readJson(context, bodyBytesMax ?? BODY_BYTES_MAX)
      : ({ ok: true, value: {} } as const);
    if (!body.ok) return refuse(context, [`(root): ${body.message}`]);
    const input = parse(context, schema, body.value);
    if (!input.ok) return;
    const result = await run(input.value, context);
    if (result !== undefined) answer(context, result);
  };
}

/** A request without a body asks for what is the default of everything. */
function hasBody(context: Context): boolean {
  return context.get("transfer-encoding") !== "" || Number(context.get("content-length")) > 0;
}

/** Answers a GET whose query the schema takes: a misspelt filter is refused, or it would show everything. */
export function query<S extends z.ZodType>(schema: S, show: (input: z.output<S>) => unknown): Middleware {
  return (context) => {
    const input = parse(context, schema, { ...context.query });
    if (input.ok) answer(context, show(input.value));
  };
}

/** Answers a GET without a query. */
export function show(read: () => unknown): Middleware {
  return query(z.strictObject({}), read);
}

function answer(context: Context, body: unknown): void {
  context.status = 200;
  context.body = body;
}

/** 400 with every problem as `field: what is allowed: current value is …`. */
export function refuse(context: Context, problems: readonly string[]): undefined {
  context.status = 400;
  context.body = {
    error: { code: "InvalidRequest", message: `Cannot accept the request:\n${problems.join("\n")}`, problems },
  };
  return undefined;
}

function parse<S extends z.ZodType>(
  context: Context,
  schema: S,
  value: unknown,
): { readonly ok: true; readonly value: z.output<S> } | { readonly ok: false } {
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  refuse(
    context,
    parsed.error.issues.map((issue) => describeIssue(issue, value)),
  );
  return { ok: false };
}
