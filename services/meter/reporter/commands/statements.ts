import { usageStatementSchema, type Statement } from "#core/api/usage-statement.ts";
import { KubeCallError } from "#runtime/kube/errors.ts";
import { withQuery } from "#runtime/kube/query.ts";
import { resourcePath, USAGE_STATEMENTS } from "#runtime/kube/resources.ts";
import { isRecord, type KubeClient } from "#runtime/kube/types.ts";
import { OFFER_LABEL } from "../kube.ts";

const PAGE_SIZE = 200;
const RESTARTS_MAX = 10;

/**
 * The statements of an offer resource in the order of their names, which is that of their hours, a page in memory at a
 * time. The list is of one moment; if it takes so long that the API server forgets that moment, it goes on from the name
 * reached. Throws on an answer that is not a list, and on a statement that cannot be read: an export is whole or none.
 */
export async function* streamStatements(client: Pick<KubeClient, "read">, hash: string): AsyncGenerator<Statement> {
  let token = "";
  let reached = "";
  let restarts = 0;
  do {
    const page = await readPage(client, hash, token);
    if (page === "Expired") {
      restarts += 1;
      if (restarts > RESTARTS_MAX) throw new Error("Cannot list UsageStatements as the API server forgets too fast");
      token = "";
      continue;
    }
    for (const item of page.items) {
      const { metadata, spec } = usageStatementSchema.parse(item);
      if (metadata.name <= reached) continue;
      reached = metadata.name;
      yield spec;
    }
    token = page.token;
    if (token === "") return;
  } while (true);
}

async function readPage(
  client: Pick<KubeClient, "read">,
  hash: string,
  token: string,
): Promise<{ readonly items: readonly unknown[]; readonly token: string } | "Expired"> {
  const path = withQuery(resourcePath(USAGE_STATEMENTS, {}), {
    labelSelector: `${OFFER_LABEL}=${hash}`,
    limit: String(PAGE_SIZE),
    continue: token === "" ? undefined : token,
  });
  const result = await client.read(path);
  if (!result.ok && result.error.kind === "Gone" && token !== "") return "Expired";
  if (!result.ok) throw new KubeCallError("list UsageStatements", result.error);
  const body = result.value;
  if (!isRecord(body) || !Array.isArray(body["items"]) || !isRecord(body["metadata"]))
    throw new Error("Cannot list UsageStatements as the answer must be a list");
  const next = body["metadata"]["continue"];
  return { items: body["items"].map((item: unknown) => withKind(item)), token: typeof next === "string" ? next : "" };
}

/** Items of a list carry neither version nor kind. */
function withKind(item: unknown): unknown {
  return isRecord(item) ? { ...item, apiVersion: "supercargo.dev/v1alpha1", kind: USAGE_STATEMENTS.kind } : item;
}
