import type { IncomingMessage } from "node:http";
import { type KubeClientOptions, reportRequest } from "./call.ts";
import { type Connection, readJson, type RequestSpec } from "./connection.ts";
import { parseRetryAfterMs, toKubeError, toUnreachable } from "./errors.ts";
import { withQuery } from "./query.ts";
import { resourcePath } from "./resources.ts";
import {
  isKubeObject,
  isRecord,
  type ResourceRef,
  type WatchEnd,
  type WatchEvent,
  type WatchHandlers,
  type WatchQuery,
} from "./types.ts";

/** Time beyond its own timeout after which a watch that the server forgot is ended. */
const WATCH_SLACK_MS = 15_000;

/** One object is at most about 1.5 MiB in etcd; JSON may grow it. */
const LINE_BYTES_MAX = 16 * 1024 * 1024;

/** Opens one watch and reads it until it ends. Never throws. */
export async function watchOnce(request: {
  readonly connection: Connection;
  readonly options: KubeClientOptions;
  readonly ref: ResourceRef;
  readonly query: WatchQuery;
  readonly handlers: WatchHandlers;
}): Promise<WatchEnd> {
  const { query, handlers, options } = request;
  const deadline = new AbortController();
  const cancel = options.clock.after(query.timeoutSeconds * 1000 + WATCH_SLACK_MS, () =>
    deadline.abort(new Error("The API server forgot the watch")),
  );
  const signal = AbortSignal.any([deadline.signal, handlers.signal]);
  const spec: RequestSpec = {
    method: "GET",
    path: withQuery(resourcePath(request.ref, { namespace: query.namespace }), {
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: query.resourceVersion,
      timeoutSeconds: String(query.timeoutSeconds),
      labelSelector: query.labelSelector,
      fieldSelector: query.fieldSelector,
    }),
  };
  try {
    const response = await request.connection.send(spec, signal);
    reportRequest(options, spec, response);
    if (response.statusCode !== 200) return await refusedWatch(response);
    handlers.onOpen?.();
    return await readWatchStream(response, handlers.onEvent);
  } catch (error) {
    return { kind: "Failed", error: toUnreachable(signal.aborted ? signal.reason : error) };
  } finally {
    cancel();
  }
}

async function refusedWatch(response: IncomingMessage): Promise<WatchEnd> {
  const retryAfterMs = parseRetryAfterMs(response.headers["retry-after"]);
  const error = toKubeError(response.statusCode ?? 0, await readJson(response), retryAfterMs);
  return error.kind === "Gone" ? { kind: "Gone" } : { kind: "Failed", error };
}

/** Reads a watch answer line by line until it ends. Never throws. */
async function readWatchStream(response: IncomingMessage, onEvent: (event: WatchEvent) => void): Promise<WatchEnd> {
  const lines = createLineSplitter(LINE_BYTES_MAX);
  try {
    for await (const chunk of response) {
      const end = handleLines(lines(Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk))), onEvent);
      if (!end) continue;
      response.destroy();
      return end;
    }
    return { kind: "Closed" };
  } catch (error) {
    response.destroy();
    return { kind: "Failed", error: toUnreachable(error) };
  }
}

function handleLines(lines: readonly string[], onEvent: (event: WatchEvent) => void): WatchEnd | undefined {
  for (const line of lines) {
    const end = handleLine(line, onEvent);
    if (end) return end;
  }
  return undefined;
}

function handleLine(line: string, onEvent: (event: WatchEvent) => void): WatchEnd | undefined {
  const parsed: unknown = JSON.parse(line);
  if (!isRecord(parsed)) throw new Error("A watch event must be an object");
  const { type, object } = parsed;
  if (type === "ERROR") return toWatchEnd(object);
  if (type === "BOOKMARK" && isRecord(object) && isRecord(object["metadata"])) {
    onEvent({ type, object: { apiVersion: "", kind: "", metadata: { name: "", ...object["metadata"] } } });
    return undefined;
  }
  if ((type === "ADDED" || type === "MODIFIED" || type === "DELETED") && isKubeObject(object))
    onEvent({ type, object });
  return undefined;
}

/** 410 also comes as HTTP 200 with an ERROR event. */
function toWatchEnd(status: unknown): WatchEnd {
  const code = isRecord(status) && typeof status["code"] === "number" ? status["code"] : 500;
  return code === 410 ? { kind: "Gone" } : { kind: "Failed", error: toKubeError(code, status) };
}

/** Cuts chunks into lines; keeps what is left for the next chunk, up to `bytesMax`. */
export function createLineSplitter(bytesMax: number): (chunk: Buffer) => string[] {
  let parts: Buffer[] = [];
  let size = 0;
  return (chunk) => {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const line = Buffer.concat([...parts, chunk.subarray(start, end)]).toString("utf8");
      if (line.trim() !== "") lines.push(line);
      parts = [];
      size = 0;
      start = end + 1;
    }
    if (start < chunk.length) {
      parts.push(chunk.subarray(start));
      size += chunk.length - start;
    }
    if (size > bytesMax) throw new Error(`Cannot read a watch event as it must be at most ${bytesMax} bytes`);
    return lines;
  };
}
