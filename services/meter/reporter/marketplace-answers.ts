import { z } from "zod";
import type { Intent } from "#core/api/usage-statement.ts";
import { decimalText, type PostAnswer } from "#core/outcome.ts";
import type { UsageRow } from "./desk.ts";

/** Only the fields we need, all nullish-tolerant: the published OpenAPI types these bodies wrongly. */
const number = z.number().nullish().catch(undefined);
const text = z.string().nullish().catch(undefined);

const acceptedSchema = z.object({
  usageEventId: text,
  resourceId: text,
  quantity: number,
  dimension: text,
  effectiveStartTime: text,
});

const errorSchema = z.object({
  code: text,
  message: text,
  target: text,
  details: z
    .array(z.object({ code: text, message: text, target: text }))
    .nullish()
    .catch(undefined),
  additionalInfo: z
    .object({ acceptedMessage: acceptedSchema.nullish().catch(undefined) })
    .nullish()
    .catch(undefined),
});

const itemSchema = z.object({
  status: text,
  usageEventId: text,
  resourceId: text,
  resourceUri: text,
  quantity: number,
  dimension: text,
  effectiveStartTime: text,
  planId: text,
  error: errorSchema.nullish().catch(undefined),
});
type Item = z.output<typeof itemSchema>;

const batchSchema = z.object({ result: z.array(itemSchema) });

/** What came back of one HTTP call; `status` 0 when nothing did. */
export interface HttpReply {
  readonly status: number;
  readonly text: string;
  readonly requestId: string;
  readonly retryAfterMs?: number | undefined;
  /** The server's clock as it answered. */
  readonly dateMs?: number | undefined;
  /** Why there is no answer. */
  readonly failure?: string | undefined;
  /** There was no token: nothing was sent. */
  readonly noCredential?: boolean;
}

/** One answer per intent. Items are matched by slot and plan, never by their place; a missing one is unknown. */
export function readBatchReply(reply: HttpReply, intents: readonly Intent[]): PostAnswer[] {
  const body = parseJson(reply.text);
  const batch = batchSchema.safeParse(body);
  if (reply.status === 200 && batch.success)
    return intents.map((intent) => {
      const item = batch.data.result.find((candidate) => isAbout(candidate, intent));
      return item ? fromItem(item, reply) : bare(reply, "Missing", []);
    });
  if (reply.status === 200) return intents.map(() => bare(reply, "Unreadable", ["The answer is no batch result"]));
  const [only, ...others] = intents;
  const error = errorSchema.safeParse(body);
  if (only && others.length === 0 && error.success) return [fromRefusal(error.data, reply)];
  return intents.map(() => bare(reply, silence(reply), failure(reply)));
}

/** Rows of GET /usageEvents, or nothing when the body is no list. */
export function readUsageRows(body: string): UsageRow[] | undefined {
  const parsed = z
    .array(
      z.object({
        usageDate: z.string(),
        usageResourceId: text,
        dimension: z.string(),
        planId: text,
        submittedQuantity: z.number(),
        processedQuantity: number,
        reconStatus: text,
      }),
    )
    .safeParse(parseJson(body));
  if (!parsed.success) return undefined;
  return parsed.data.map((row) => ({
    day: row.usageDate.slice(0, 10).replaceAll("-", ""),
    usageResourceId: row.usageResourceId ?? "",
    dimension: row.dimension,
    planId: row.planId ?? "",
    quantity: decimalText(row.submittedQuantity),
    processed: decimalText(row.processedQuantity ?? 0),
    reconStatus: row.reconStatus ?? "",
  }));
}

function isAbout(item: Item, intent: Intent): boolean {
  const uri = item.resourceUri?.toLowerCase();
  return (
    (uri === undefined || uri === intent.offerResourceId.toLowerCase()) &&
    item.dimension === intent.dimension &&
    Date.parse(item.effectiveStartTime ?? "") === Date.parse(intent.effectiveStartTime) &&
    (item.planId === undefined || item.planId === null || item.planId === intent.planId)
  );
}

function fromItem(item: Item, reply: HttpReply): PostAnswer {
  const booked = item.error?.additionalInfo?.acceptedMessage;
  return {
    ...bare(reply, item.status ?? "Missing", reasonsOf(item.error)),
    quantity: item.quantity ?? undefined,
    usageEventId: item.usageEventId ?? undefined,
    resourceId: item.resourceId ?? undefined,
    acceptedMessage: booked ? toAccepted(booked) : undefined,
  };
}

/** A refused call about a single item: its reason stands in the error's details (marketplace.md §3.2). */
function fromRefusal(error: z.output<typeof errorSchema>, reply: HttpReply): PostAnswer {
  const booked = error.additionalInfo?.acceptedMessage;
  const answer = bare(reply, refusalStatus(error, reply.status), reasonsOf(error));
  return booked ? { ...answer, acceptedMessage: toAccepted(booked) } : answer;
}

const BY_TARGET: Readonly<Record<string, string>> = {
  effectivestarttime: "Expired",
  dimension: "InvalidDimension",
  resourceid: "ResourceNotFound",
};

function refusalStatus(error: z.output<typeof errorSchema>, httpStatus: number): string {
  if (httpStatus === 409) return "Duplicate";
  if (httpStatus !== 400 || error.code !== "BadArgument") return `Http${httpStatus}`;
  const targets = (error.details ?? []).map((detail) => detail.target?.toLowerCase() ?? "");
  return targets.map((target) => BY_TARGET[target]).find((status) => status !== undefined) ?? "BadArgument";
}

function toAccepted(booked: z.output<typeof acceptedSchema>): NonNullable<PostAnswer["acceptedMessage"]> {
  return {
    quantity: booked.quantity ?? undefined,
    usageEventId: booked.usageEventId ?? undefined,
    resourceId: booked.resourceId ?? undefined,
    dimension: booked.dimension ?? undefined,
    effectiveStartTime: booked.effectiveStartTime ?? undefined,
  };
}

function reasonsOf(error: z.output<typeof errorSchema> | null | undefined): string[] {
  if (!error) return [];
  const details = (error.details ?? []).map((detail) => sentence(detail.message, detail.target));
  const all = details.length > 0 ? details : [sentence(error.message, error.target)];
  return all.filter((reason) => reason !== "").slice(0, 5);
}

function sentence(message: string | null | undefined, target: string | null | undefined): string {
  const said = (message ?? "").slice(0, 200);
  return target ? `${said} (${target})` : said;
}

function bare(reply: HttpReply, status: string, reasons: readonly string[]): PostAnswer {
  return {
    requestId: reply.requestId,
    httpStatus: reply.status,
    status,
    reasons,
    ...(reply.retryAfterMs === undefined ? {} : { retryAfterMs: reply.retryAfterMs }),
    ...(reply.dateMs === undefined ? {} : { dateMs: reply.dateMs }),
  };
}

function silence(reply: HttpReply): string {
  if (reply.noCredential) return "NoCredential";
  return reply.failure === undefined ? `Http${reply.status}` : "NoAnswer";
}

function failure(reply: HttpReply): string[] {
  return reply.failure === undefined ? [] : [reply.failure.slice(0, 200)];
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
