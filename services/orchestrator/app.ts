import type { RequestListener } from "node:http";
import Router from "@koa/router";
import Koa from "koa";
import { errorEntry, errorHeaders, Refusal, toErrorBody } from "#core/errors.ts";
import { BodyTooLargeError } from "#runtime/server.ts";
import { type Caller, identifyCaller } from "./caller.ts";
import type { RunWorld } from "./active-run.ts";
import type { Runs } from "./runs.ts";
import { createResponse, deleteResponse, readResponse } from "./responses-routes.ts";

/** What the routes work with. */
export interface AppOptions {
  readonly world: RunWorld;
  readonly runs: Runs;
}

/** Per request: the verified caller. */
interface AppState {
  caller: Caller;
}

export type AppContext = Koa.ParameterizedContext<AppState>;

/** The Responses API under /v1 and, for Foundry, under /. Every answer that is no success has OpenAI's error shape. */
export function createApp(options: AppOptions): RequestListener {
  const app = new Koa<AppState>();
  app.silent = true;
  app.on("error", (err: unknown) => options.world.log.warn({ err }, "Failed to write an answer"));
  app.use(async (context, next) => {
    context.set("x-request-id", context.get("x-request-id") || options.world.newId("req"));
    try {
      await next();
      if (context.status === 404 && context.body === undefined && context.respond !== false)
        throw new Refusal("not_found", `Cannot find ${context.method} ${context.path}`);
    } catch (error) {
      answerError(context, error, options);
    }
  });
  app.use(async (context, next) => {
    context.state.caller = await identifyCaller(context.headers, options.world.live, options.world.clock);
    await next();
  });
  const router = createRoutes(options);
  app.use(router.routes());
  app.use(
    router.allowedMethods({
      throw: true,
      methodNotAllowed: () => new Refusal("method_not_allowed", "Cannot use this method here: see the allow header"),
      notImplemented: () => new Refusal("method_not_allowed", "Cannot use this method here: see the allow header"),
    }),
  );
  const handle = app.callback();
  return (request, response) => void handle(request, response);
}

function createRoutes(options: AppOptions): Router<AppState> {
  const router = new Router<AppState>();
  router.post(["/v1/responses", "/responses"], (context) => createResponse(context, options));
  router.get(["/v1/responses/:id", "/responses/:id"], (context) =>
    readResponse(context, String(context.params["id"]), options),
  );
  router.delete(["/v1/responses/:id", "/responses/:id"], (context) =>
    deleteResponse(context, String(context.params["id"]), options),
  );
  return router;
}

function answerError(context: AppContext, error: unknown, options: AppOptions): void {
  const refusal = toRefusal(error);
  if (refusal.code === "internal_error")
    options.world.log.error({ err: error, path: context.path }, "Failed to answer");
  if (context.respond === false || context.res.headersSent) {
    context.res.destroy();
    return;
  }
  const body = toErrorBody(refusal.code, refusal.message, refusal.param);
  context.status = errorEntry(refusal.code).status;
  context.set(errorHeaders(refusal.code, refusal));
  context.body = body;
}

function toRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof BodyTooLargeError) return new Refusal("request_too_large", error.message, { cause: error });
  return new Refusal("internal_error", "Cannot answer because of a defect of Supercargo", { cause: error });
}
