import { markBegun, Refusal } from "#core/errors.ts";
import { readBody } from "#runtime/server.ts";
import type { AppContext, AppOptions } from "./app.ts";
import { digestOf } from "./canonical.ts";
import { openPlace } from "./trace.ts";
import { collectConversation } from "./conversation.ts";
import { checkNewRun } from "./entitle.ts";
import { toMessages } from "./responses/messages.ts";
import { type CreateRequest, parseCreateRequest } from "./responses/request.ts";
import type { OutputItem } from "./responses/items.ts";
import { toResponse } from "./responses/response.ts";
import { type EventWriter, startEventStream } from "./responses/sse.ts";
import { createRunStream, replayItem } from "./responses/stream.ts";
import type { RunRecord } from "./store/journal.ts";

const BODY_MAX_BYTES = 4 * 1024 * 1024;

/** A request that may begin a run. */
interface Prepared {
  readonly request: CreateRequest;
  readonly digest: string;
  readonly key: string | null;
}

/** POST /v1/responses: begins a run and answers with its end, or streams it. */
export async function createResponse(context: AppContext, options: AppOptions): Promise<void> {
  const { principal, subject } = context.state.caller;
  const { world, runs } = options;
  const prepared = await prepare(context, options);
  const earlier = prepared.key === null ? undefined : world.journal.runByKey(principal, prepared.key);
  if (earlier) return repeat(context, { earlier, prepared, options });

  const { request, digest, key } = prepared;
  checkConversation(principal, request, options);
  const run = {
    id: world.newId("resp"),
    principal,
    caller: subject,
    idempotencyKey: key,
    requestDigest: digest,
    request,
    model: options.world.live.config()?.agent.name ?? "",
    createdAtMs: world.clock.now(),
    place: openPlace(context.headers, world),
  };
  if (!request.stream) {
    const handle = runs.start(run);
    endWithClient(context, prepared, handle.cancel);
    try {
      context.body = await handle.done;
    } catch (error) {
      // With a key the same run is found again; without one it would be a second run.
      throw key === null ? markBegun(error) : error;
    }
    return;
  }
  let writer: EventWriter | undefined;
  const handle = runs.start(run, (event) => {
    // Only now: what is refused before the run begins gets its own status.
    writer ??= startStream(context, options);
    writer.write(event);
  });
  endWithClient(context, prepared, handle.cancel);
  await handle.done.catch(() => undefined);
  writer?.end();
}

/** GET /v1/responses/{id}: the response object as it is now. */
export function readResponse(context: AppContext, id: string, { world }: AppOptions): void {
  const record = findOwn(context, id, world.journal.run(id));
  if (context.query["stream"] === "true")
    throw new Refusal(
      "unsupported_parameter",
      "Cannot stream a stored response in this version: read it without stream",
      {
        param: "stream",
      },
    );
  context.body = toStored(record, world.journal.output(id));
}

/** DELETE /v1/responses/{id}: forgets an ended response. */
export function deleteResponse(context: AppContext, id: string, { world }: AppOptions): void {
  const record = findOwn(context, id, world.journal.run(id));
  if (record.status === "in_progress")
    throw new Refusal("conflict", `Cannot delete response ${id} as it is still in progress`);
  world.journal.removeRun(id);
  context.body = { id, object: "response", deleted: true };
}

async function prepare(context: AppContext, { world }: AppOptions): Promise<Prepared> {
  checkNewRun(world.live.control(), { config: world.live.config(), nowMs: world.clock.now() });
  const problem = world.counter.problem();
  if (problem !== undefined) world.counter.count();
  if (context.is("application/json") === false || context.get("content-encoding") !== "")
    throw new Refusal(
      "unsupported_media_type",
      "Cannot read the body as it must be application/json without content-encoding",
    );
  const request = parseCreateRequest(await readBody(context.req, BODY_MAX_BYTES));
  const agent = world.live.config()?.agent.name ?? "";
  if (request.model !== null && request.model !== agent)
    throw new Refusal(
      "model_not_found",
      `Cannot find the model as model must be ${agent}: current value is ${JSON.stringify(request.model)}`,
      { param: "model" },
    );
  return { request, digest: digestOf(request), key: readKey(context) };
}

function readKey(context: AppContext): string | null {
  const key = context.get("idempotency-key");
  if (key === "") return null;
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw new Refusal(
      "invalid_value",
      "Cannot create the response as Idempotency-Key must have 1 to 255 visible ASCII characters",
    );
  return key;
}

/** Everything about the conversation that can be refused before the run is journaled. */
function checkConversation(principal: string, request: CreateRequest, { world }: AppOptions): void {
  toMessages(collectConversation(world.journal, principal, request), ({ name }) => name);
}

interface Repeated {
  readonly earlier: RunRecord;
  readonly prepared: Prepared;
  readonly options: AppOptions;
}

/** The same principal, key and body: the same run, waited for if it goes on. Another body: 409. */
async function repeat(context: AppContext, { earlier, prepared, options }: Repeated): Promise<void> {
  if (earlier.requestDigest !== prepared.digest)
    throw new Refusal("conflict", "Cannot create the response as its Idempotency-Key was used with another body");
  const { world, runs } = options;
  const writer = prepared.request.stream ? startStream(context, options) : undefined;
  // A run that a crash left is taken over now, not at the next look.
  if (earlier.status === "in_progress" && !runs.find(earlier.id)) runs.recover();
  await runs.find(earlier.id)?.done.catch(() => undefined);
  const record = world.journal.run(earlier.id) ?? earlier;
  const output = world.journal.output(earlier.id);
  if (writer) replay(record, output, writer);
  else context.body = toStored(record, output);
}

/** An ended run as a stream from the beginning. */
function replay(record: RunRecord, output: readonly OutputItem[], writer: EventWriter): void {
  const stream = createRunStream(0);
  stream.subscribe((event) => writer.write(event));
  const nothing = { incompleteReason: null, error: null, output: [], usage: null };
  const begun = toResponse({ ...record, ...nothing, status: "in_progress" });
  stream.emit("response.created", { response: begun });
  stream.emit("response.in_progress", { response: begun });
  for (const [outputIndex, item] of output.entries()) replayItem({ stream, outputIndex }, item);
  if (record.error) stream.emit("error", { ...record.error, param: null });
  if (record.status !== "cancelled" && record.status !== "in_progress")
    stream.emit(`response.${record.status}`, { response: toStored(record, output) });
  writer.end();
}

function toStored(record: RunRecord, output: readonly OutputItem[]): Record<string, unknown> {
  return toResponse({ ...record, output, usage: record.status === "in_progress" ? null : record.usage });
}

/** Another principal's response, and one that is not stored, look like none. */
function findOwn(context: AppContext, id: string, record: RunRecord | undefined): RunRecord {
  if (record && record.principal === context.state.caller.principal && record.request.store) return record;
  throw new Refusal("response_not_found", `Cannot find response ${JSON.stringify(id.slice(0, 128))}`);
}

/**
 * Foreground: the client leaving cancels at the next safe point. With an Idempotency-Key it does not: whoever sends a key
 * means to come back for the answer.
 */
function endWithClient(context: AppContext, prepared: Prepared, cancel: () => void): void {
  if (prepared.key !== null) return;
  const cancelIfUnanswered = (): void => {
    if (!context.res.writableFinished) cancel();
  };
  // The client may have left while its body was read.
  if (context.res.closed) cancelIfUnanswered();
  else context.res.once("close", cancelIfUnanswered);
}

function startStream(context: AppContext, { world }: AppOptions): EventWriter {
  context.respond = false;
  return startEventStream(context.res, world.clock);
}
