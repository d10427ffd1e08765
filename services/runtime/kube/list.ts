import { setImmediate as yieldLoop } from "node:timers/promises";
import type { Runner } from "./call.ts";
import { apiVersionOf, resourcePath } from "./resources.ts";
import {
  type CallOptions,
  isKubeObject,
  isRecord,
  type KubeCollection,
  type KubeList,
  type KubeObject,
  type KubeResult,
  type ListQuery,
  type ResourceRef,
} from "./types.ts";
import { withQuery } from "./query.ts";

const LIST_TIMEOUT_MS = 60_000;
const PAGE_SIZE = 500;
/** A list whose continue token expires starts over; more often than this the server is too busy for us. */
const LIST_RESTARTS_MAX = 3;

/** Objects that are turned into what is kept of them before the event loop gets its turn. */
const YIELD_EVERY = 25;

/** All pages; an expired continue token starts over. Of each object only what `keep` returns stays in memory. */
export async function collectPages<T>(
  run: Runner,
  request: ListRequest & { readonly keep: (object: KubeObject) => T | undefined },
): Promise<KubeResult<KubeCollection<T>>> {
  let restarts = 0;
  let items: T[] = [];
  let token = "";
  for (;;) {
    const page = await listPage(run, request, token);
    if (!page.ok) {
      if (page.error.kind !== "Gone" || token === "" || restarts >= LIST_RESTARTS_MAX) return page;
      restarts += 1;
      items = [];
      token = "";
      continue;
    }
    items = await keepFrom(page.value.items, { keep: request.keep, items });
    token = page.value.token;
    if (token === "")
      return { ok: true, value: { items, resourceVersion: page.value.resourceVersion }, dateMs: page.dateMs };
  }
}

/** Adds what is kept of a page to `items`, with room for others: a page of large objects takes long to check. */
async function keepFrom<T>(
  objects: readonly KubeObject[],
  into: { readonly keep: (object: KubeObject) => T | undefined; readonly items: T[] },
): Promise<T[]> {
  for (const [count, object] of objects.entries()) {
    const kept = into.keep(object);
    if (kept !== undefined) into.items.push(kept);
    if (count % YIELD_EVERY === YIELD_EVERY - 1) await yieldLoop();
  }
  return into.items;
}

interface ListRequest {
  readonly ref: ResourceRef;
  readonly query: ListQuery;
  readonly options: CallOptions;
}

async function listPage(
  run: Runner,
  request: ListRequest,
  token: string,
): Promise<KubeResult<KubeList & { readonly token: string }>> {
  const { ref, query } = request;
  // No resourceVersion: with resourceVersion=0 the server ignores the limit.
  const path = withQuery(resourcePath(ref, { namespace: query.namespace }), {
    labelSelector: query.labelSelector,
    fieldSelector: query.fieldSelector,
    limit: String(query.limit ?? PAGE_SIZE),
    continue: token === "" ? undefined : token,
  });
  const result = await run({
    method: "GET",
    path,
    repeatable: true,
    options: request.options,
    timeoutMs: LIST_TIMEOUT_MS,
  });
  if (!result.ok) return result;
  const body = result.value;
  if (!isRecord(body) || !isRecord(body["metadata"]))
    return { ok: false, error: { kind: "Unknown", status: 200, message: "The answer is not a list" } };
  const items = Array.isArray(body["items"]) ? body["items"].filter(isKubeObject) : [];
  return {
    ok: true,
    dateMs: result.dateMs,
    value: {
      items: items.map((item) => ({ ...item, apiVersion: apiVersionOf(ref), kind: ref.kind })),
      resourceVersion: text(body["metadata"]["resourceVersion"]),
      token: text(body["metadata"]["continue"]),
    },
  };
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
