import { Agent, request as httpRequest } from "undici";
import { z } from "zod";
import { encodeActingFor } from "#core/acting-for.ts";
import { isErrorCode, toErrorBody } from "#core/errors.ts";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import type { Clock } from "#runtime/clock.ts";
import { retry } from "#runtime/retry.ts";
import { wasNotSent } from "./not-sent.ts";
import { createChatReader, type ModelAnswer, ModelError } from "./model-stream.ts";

/** Time for one answer of the model, from the first byte out to the last byte in. */
const ANSWER_MAX_MS = 300_000;
/** Silence inside an answer. */
const IDLE_MAX_MS = 120_000;
const ERROR_BODY_MAX_BYTES = 64 * 1024;
/** The gateway falls back by itself; only a gateway that is being replaced is asked again, before anything was said. */
const ATTEMPTS_MAX = 3;

/** What one turn asks of the model. */
interface ModelCall {
  /** The body of a Chat Completions request, without the stream's options. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly principal: string;
  readonly signal: AbortSignal;
  /** Headers of the trace that the call belongs to. */
  readonly traceHeaders: Readonly<Record<string, string>>;
  readonly onText: (delta: string) => void;
  readonly onRefusal: (delta: string) => void;
}

/** Asks the model through the gateway. Throws ModelError with the code that the gateway gave, or the signal's reason. */
export type AskModel = (call: ModelCall) => Promise<ModelAnswer>;

export interface ModelOptions {
  /** The gateway's base URL now: without a path. */
  readonly gatewayUrl: () => string;
  /** Our token for the gateway; nothing while there is none. */
  readonly token: () => string | undefined;
  readonly clock: Clock;
  readonly random: () => number;
}

export function createModelClient(options: ModelOptions): { readonly ask: AskModel; close(): Promise<void> } {
  const dispatcher = new Agent({ headersTimeout: IDLE_MAX_MS, bodyTimeout: IDLE_MAX_MS, connect: { timeout: 10_000 } });
  const ask: AskModel = (call) =>
    retry(() => askOnce(call, options, dispatcher), {
      clock: options.clock,
      random: options.random,
      attemptsMax: ATTEMPTS_MAX,
      delayMinMs: 200,
      delayMaxMs: 2000,
      signal: call.signal,
      isRetriable: (error) => error instanceof ModelError && error.again,
    });
  return { ask, close: () => dispatcher.close() };
}

async function askOnce(call: ModelCall, options: ModelOptions, dispatcher: Agent): Promise<ModelAnswer> {
  const token = options.token();
  if (token === undefined) throw new ModelError("not_ready", "The pod has no token for the gateway", true);
  const timeout = new AbortController();
  const cancel = options.clock.after(ANSWER_MAX_MS, () =>
    timeout.abort(new ModelError("upstream_timeout", `The model did not answer within ${ANSWER_MAX_MS} ms`)),
  );
  try {
    const signal = AbortSignal.any([call.signal, timeout.signal]);
    const answer = await send(call, { options, dispatcher, token, signal });
    if (answer.statusCode !== 200) throw await toModelError(answer);
    return await readAnswer(call, answer.body);
  } catch (error) {
    if (call.signal.aborted) throw call.signal.reason;
    if (timeout.signal.aborted) throw timeout.signal.reason;
    throw error;
  } finally {
    cancel();
  }
}

interface SendOptions {
  readonly options: ModelOptions;
  readonly dispatcher: Agent;
  readonly token: string;
  readonly signal: AbortSignal;
}

type ModelHttpAnswer = Awaited<ReturnType<typeof httpRequest>>;

async function send(call: ModelCall, { options, dispatcher, token, signal }: SendOptions): Promise<ModelHttpAnswer> {
  try {
    return await httpRequest(`${options.gatewayUrl()}/v1/chat/completions`, {
      method: "POST",
      dispatcher,
      signal,
      headers: {
        "content-type": "application/json",
        accept: "text/event-stream",
        authorization: `Bearer ${token}`,
        [ACTING_FOR_HEADER]: encodeActingFor(call.principal),
        ...call.traceHeaders,
      },
      body: JSON.stringify({ ...call.body, stream: true, stream_options: { include_usage: true } }),
    });
  } catch (error) {
    if (signal.aborted) throw error;
    // Asked again only if nothing left: a request that did may have cost tokens.
    const again = wasNotSent(error);
    const message = again ? "The gateway cannot be reached" : "The connection to the gateway broke";
    throw new ModelError("upstream_error", message, again, { cause: error });
  }
}

async function readAnswer(call: ModelCall, body: AsyncIterable<unknown>): Promise<ModelAnswer> {
  const reader = createChatReader(call);
  try {
    for await (const chunk of body) reader.push(z.instanceof(Uint8Array).parse(chunk));
  } catch (error) {
    if (error instanceof ModelError) throw error;
    throw new ModelError("stream_interrupted", "The model's answer was cut before its end", false, { cause: error });
  }
  return reader.finish();
}

const errorBodySchema = z.object({ error: z.object({ code: z.string().nullish(), message: z.string().nullish() }) });

async function toModelError(answer: ModelHttpAnswer): Promise<ModelError> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer.body) {
    const bytes = Buffer.from(z.instanceof(Uint8Array).parse(chunk));
    size += bytes.length;
    if (size > ERROR_BODY_MAX_BYTES) break;
    chunks.push(bytes);
  }
  const { code, message } = readErrorBody(Buffer.concat(chunks).toString("utf8"));
  const known = code || "upstream_error";
  const again = answer.statusCode === 503 && (!isErrorCode(known) || known === "draining" || known === "not_ready");
  return new ModelError(known, message || `The gateway answered with status ${answer.statusCode}`, again);
}

function readErrorBody(text: string): { code: string; message: string } {
  const none = toErrorBody("upstream_error", "").error;
  try {
    const { error } = errorBodySchema.parse(JSON.parse(text));
    return { code: (error.code ?? none.code).slice(0, 64), message: (error.message ?? "").slice(0, 2000) };
  } catch {
    return { code: none.code, message: "" };
  }
}
