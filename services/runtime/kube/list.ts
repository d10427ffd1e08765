import type { Runner } from "./call.ts";
import { apiVersionOf, resourcePath } from "./resources.ts";
import {
  type CallOptions,
  isKubeObject,
  isRecord,
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

/** Lists all pages; an expired continue token starts over. */
export async function listPages(
  run: Runner,
  request: { readonly ref: ResourceRef; readonly query: ListQuery; readonly options: CallOptions },
): Promise<KubeResult<KubeList>> {
  let restarts = 0;
  let items: KubeObject[] = [];
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
    items.push(...page.value.items);
    token = page.value.token;
    if (token === "")
      return { ok: true, value: { items, resourceVersion: page.value.resourceVersion }, dateMs: page.dateMs };
  }
}

async function listPage(
  run: Runner,
  request: { readonly ref: ResourceRef; readonly query: ListQuery; readonly options: CallOptions },
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
