import { Router } from "@koa/router";
import type { Context } from "koa";
import type { z } from "zod";
import { bearerToken, dropConnection, goneSignal, readJson, toMiddleware } from "./endpoint.ts";
import { countUsage, type AnswerMeta, type Usage } from "./model-answer.ts";
import { chatBody, chatFrames, chatSchema, chatToPrompt } from "./model-chat.ts";
import { embeddingsAnswer, embeddingsSchema } from "./model-embeddings.ts";
import { errorBody, firstProblem, refuseInvalid, statusBody } from "./model-errors.ts";
import { filteredBody } from "./model-filter.ts";
import type { TokenTally } from "./model-memory.ts";
import type { Prompt } from "./model-prompt.ts";
import { answerTurns, responseAnswer, responseFrames, responsesSchema, responsesToPrompt } from "./model-responses.ts";
import { decideAnswer, type Answer } from "./model-script.ts";
import { writeFrames, type Frame } from "./model-stream.ts";
import type { World } from "./world.ts";

export interface ModelSettings {
  /** Whether callers need a key or token. */
  readonly auth: "Key" | "None";
  /** Keys that are accepted as `api-key` or bearer; any non-empty one when the list is empty. */
  readonly apiKeys: readonly string[];
  /** Deployments that exist; any name when the list is empty. */
  readonly deployments: readonly string[];
}

interface Model {
  readonly world: World;
  readonly settings: ModelSettings;
}

/** Image parts in base64 need room. */
const BODY_BYTES_MAX = 16 * 1024 * 1024;

/** An OpenAI-compatible model under `/openai/v1` (with Azure's annotations) and `/v1` (without). */
export function createModelRouter(world: World, settings: ModelSettings): Router {
  const model = { world, settings };
  const router = new Router();
  const at = (route: string, answer: (context: Context, model: Model) => Promise<void> | void) =>
    toMiddleware(world, {
      standIn: "model",
      route,
      faultBody: statusBody,
      answer: async (context) => {
        context.set("x-request-id", context.get("x-request-id") || world.newId());
        if (isAllowed(context, settings)) return answer(context, model);
        context.status = 401;
        context.body = statusBody(401);
      },
    });
  for (const base of ["/openai/v1", "/v1"]) {
    router.post(`${base}/chat/completions`, at("chat", answerChat));
    router.post(`${base}/responses`, at("responses", answerResponses));
    router.post(`${base}/embeddings`, at("embeddings", answerEmbeddings));
    router.get(`${base}/models`, at("models", answerModels));
  }
  return router;
}

async function answerChat(context: Context, model: Model): Promise<void> {
  const request = await readRequest(context, model, chatSchema);
  if (!request) return;
  const prompt = chatToPrompt(request);
  const decided = decide(model, prompt);
  const meta = toMeta(context, model, { prompt, answer: decided, idPrefix: "chatcmpl-", choices: request.n ?? 1 });
  await send(context, model, {
    prompt,
    answer: decided,
    usage: meta.usage,
    ...(request.stream ? { frames: chatFrames(request, decided, meta) } : { body: chatBody(request, decided, meta) }),
  });
}

async function answerResponses(context: Context, model: Model): Promise<void> {
  const request = await readRequest(context, model, responsesSchema);
  if (!request) return;
  const previous = request.previous_response_id;
  const earlier = previous ? model.world.model.recall(previous) : [];
  if (!earlier) {
    const message = `Previous response with id '${previous}' not found.`;
    context.status = 400;
    const param = "previous_response_id";
    context.body = errorBody({ message, type: "invalid_request_error", code: "previous_response_not_found", param });
    return;
  }
  const prompt = responsesToPrompt(request, earlier);
  const answer = decide(model, prompt);
  const meta = toMeta(context, model, { prompt, answer, idPrefix: "resp_", choices: 1 });
  const spoken = prompt.turns.slice(request.instructions ? 1 : 0);
  model.world.model.remember(meta.id, [...spoken, ...answerTurns(answer)]);
  await send(context, model, {
    prompt,
    answer,
    usage: meta.usage,
    ...(request.stream
      ? { frames: responseFrames(request, answer, meta) }
      : { body: responseAnswer(request, answer, meta) }),
  });
}

async function answerEmbeddings(context: Context, model: Model): Promise<void> {
  const request = await readRequest(context, model, embeddingsSchema);
  if (!request) return;
  const { body, inputTokens } = embeddingsAnswer(request);
  context.body = body;
  const usage = { inputTokens, outputTokens: 0, cachedTokens: 0, reasoningTokens: 0 };
  addUsage(model.world.model.tally(request.model).completed, usage);
}

function answerModels(context: Context, { settings, world }: Model): void {
  const created = Math.floor(world.clock.now() / 1000);
  const names = settings.deployments.length > 0 ? settings.deployments : ["emulated-model"];
  context.body = { object: "list", data: names.map((id) => ({ id, object: "model", created, owned_by: "emulator" })) };
}

function decide({ world }: Model, prompt: Prompt): Answer {
  return decideAnswer(prompt, world.model.takeScript(prompt.deployment)?.say);
}

interface Sending {
  readonly prompt: Prompt;
  readonly answer: Answer;
  readonly usage: Usage;
  readonly frames?: Iterable<Frame>;
  readonly body?: unknown;
}

/** Sends what was decided, with its refusal, pace and death, and adds it to the tally of the deployment. */
async function send(context: Context, { world }: Model, sending: Sending): Promise<void> {
  const { answer, usage, frames } = sending;
  const tally = world.model.tally(sending.prompt.deployment);
  if (answer.refusal) {
    tally.refused += 1;
    context.status = answer.refusal.status;
    if (answer.refusal.retryAfter !== undefined) context.set("retry-after", answer.refusal.retryAfter);
    context.body = answer.refusal.filtered ? filteredBody() : statusBody(answer.refusal.status);
    return;
  }
  const dieAfter = answer.dieAfterChunks === undefined ? {} : { dieAfterChunks: answer.dieAfterChunks };
  const end = frames
    ? await writeFrames(context, frames, { clock: world.clock, delayMs: answer.delayMs, ...dieAfter })
    : await sendBody(context, world, sending);
  if (end.end === "Completed") return addUsage(tally.completed, usage);
  if (end.end === "ClientGone") tally.clientGone += 1;
  addUsage(tally.cut, { ...usage, outputTokens: end.sentTokens, reasoningTokens: 0 });
}

/** Without a stream the pace is one wait, and a death comes before the answer. */
async function sendBody(
  context: Context,
  world: World,
  sending: Sending,
): Promise<{ end: "Completed" | "ClientGone" | "Died"; sentTokens: number }> {
  const { answer, body } = sending;
  const gone = goneSignal(context);
  try {
    if (answer.delayMs > 0) await world.clock.sleep(answer.delayMs, gone);
  } catch {
    context.respond = false;
    return { end: "ClientGone", sentTokens: 0 };
  }
  if (answer.dieAfterChunks !== undefined) {
    dropConnection(context);
    return { end: "Died", sentTokens: 0 };
  }
  context.body = body;
  return { end: "Completed", sentTokens: 0 };
}

function addUsage(tally: TokenTally, usage: Usage): void {
  tally.requests += 1;
  tally.inputTokens += usage.inputTokens;
  tally.outputTokens += usage.outputTokens;
  tally.cachedTokens += usage.cachedTokens;
  tally.reasoningTokens += usage.reasoningTokens;
}

/** The parsed body, or nothing after the refusal was written. */
async function readRequest<S extends z.ZodType<{ model: string }>>(
  context: Context,
  { settings }: Model,
  schema: S,
): Promise<z.output<S> | undefined> {
  const body = await readJson(context, BODY_BYTES_MAX);
  if (!body.ok) return (refuseInvalid(context, body), undefined);
  const parsed = schema.safeParse(body.value);
  if (!parsed.success) return (refuseInvalid(context, firstProblem(parsed.error)), undefined);
  const { model } = parsed.data;
  if (settings.deployments.length === 0 || settings.deployments.includes(model)) return parsed.data;
  context.status = 404;
  const message = `The model '${model}' does not exist: it must be one of ${settings.deployments.join(", ")}`;
  context.body = errorBody({ message, type: "invalid_request_error", code: "model_not_found", param: "model" });
  return undefined;
}

function toMeta(
  context: Context,
  { world }: Model,
  about: { prompt: Prompt; answer: Answer; idPrefix: string; choices: number },
): AnswerMeta {
  const newId = (prefix: string): string => `${prefix}${world.newId().replaceAll("-", "")}`;
  return {
    id: newId(about.idPrefix),
    createdSeconds: Math.floor(world.clock.now() / 1000),
    azure: context.path.startsWith("/openai/"),
    callIds: about.answer.calls.map(() => newId("call_")),
    usage: countUsage(about.prompt, about.answer, about.choices),
    newId,
  };
}

function isAllowed(context: Context, settings: ModelSettings): boolean {
  if (settings.auth === "None") return true;
  const key = context.get("api-key") || bearerToken(context) || "";
  return key !== "" && (settings.apiKeys.length === 0 || settings.apiKeys.includes(key));
}
