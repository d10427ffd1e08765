import { z } from "zod";
import { outputItemSchema, type OutputItem, type Usage, usageSchema } from "../responses/items.ts";
import { createRequestSchema } from "../responses/request.ts";
import type { ApprovalRecord, CallRecord, Fact, RunRecord, TurnRecord } from "./journal.ts";

/** Rows as SQLite gives them → records. A row that does not parse is a defect or a broken file: it throws. */
const fromJson = <S extends z.ZodType>(schema: S) =>
  z.string().transform((text, context): z.output<S> => {
    const parsed = schema.safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
    context.addIssue({ code: "custom", message: parsed.error.message });
    return z.NEVER;
  });

const runRowSchema = z.object({
  id: z.string(),
  epoch: z.int(),
  owner: z.string(),
  principal: z.string(),
  caller: z.string(),
  idempotency_key: z.string().nullable(),
  request_digest: z.string(),
  request: fromJson(createRequestSchema),
  model: z.string(),
  created_at_ms: z.int(),
  completed_at_ms: z.int().nullable(),
  status: z.enum(["in_progress", "completed", "failed", "cancelled", "incomplete"]),
  incomplete_reason: z.enum(["max_turns", "max_tool_calls", "max_output_tokens", "content_filter"]).nullable(),
  error: fromJson(z.object({ code: z.string(), message: z.string() })).nullable(),
  usage: fromJson(usageSchema),
});

export function toRun(row: unknown): RunRecord {
  const run = runRowSchema.parse(row);
  return {
    id: run.id,
    epoch: run.epoch,
    owner: run.owner,
    principal: run.principal,
    caller: run.caller,
    idempotencyKey: run.idempotency_key,
    requestDigest: run.request_digest,
    request: run.request,
    model: run.model,
    createdAtMs: run.created_at_ms,
    completedAtMs: run.completed_at_ms,
    status: run.status,
    incompleteReason: run.incomplete_reason,
    error: run.error,
    usage: run.usage,
  };
}

const turnRowSchema = z.object({
  number: z.int(),
  text: z.string(),
  finish: z.enum(["stop", "length", "tool_calls", "content_filter", "adopted"]),
  usage: fromJson(usageSchema),
});

export function toTurn(row: unknown): TurnRecord {
  return turnRowSchema.parse(row);
}

const callRowSchema = z.object({
  turn: z.int(),
  position: z.int(),
  call_id: z.string(),
  item_id: z.string(),
  kind: z.enum(["Tool", "Client"]),
  name: z.string(),
  server: z.string(),
  tool: z.string(),
  arguments: z.string(),
  state: z.enum(["planned", "waiting", "started", "done", "failed", "unknown"]),
  result: z.string().nullable(),
  approval: z.string().nullable(),
});

export function toCall(row: unknown): CallRecord {
  const { call_id: callId, item_id: itemId, ...call } = callRowSchema.parse(row);
  return { ...call, callId, itemId };
}

const approvalRowSchema = z.object({
  name: z.string(),
  uid: z.string(),
  digest: z.string(),
  run_id: z.string(),
  call_id: z.string(),
  rule: z.string(),
  asked_at_ms: z.int(),
  expires_at_ms: z.int(),
  outcome: z.enum(["approved", "denied", "timed_out", "stale"]).nullable(),
  claim_run: z.string().nullable(),
  claim_epoch: z.int().nullable(),
  claim_turn: z.int().nullable(),
  claim_position: z.int().nullable(),
});

export function toApproval(row: unknown): ApprovalRecord {
  const { name, uid, digest, rule, outcome, ...rest } = approvalRowSchema.parse(row);
  const { claim_run: id, claim_epoch: epoch, claim_turn: turn, claim_position: position } = rest;
  const isClaimed = id !== null && epoch !== null && turn !== null && position !== null;
  return {
    name,
    uid,
    digest,
    rule,
    outcome,
    runId: rest.run_id,
    callId: rest.call_id,
    askedAtMs: rest.asked_at_ms,
    expiresAtMs: rest.expires_at_ms,
    claim: isClaimed ? { id, epoch, turn, position } : null,
  };
}

const factRowSchema = z.object({ sequence: z.int(), dimension: z.string(), amount: z.int() });

export function toFact(row: unknown): Fact {
  return factRowSchema.parse(row);
}

const itemDoneSchema = z.object({ type: z.literal("response.output_item.done"), item: outputItemSchema });

/** The item that a stored event completes, or nothing for other events. */
export function toItem(payload: unknown): OutputItem | undefined {
  const parsed = itemDoneSchema.safeParse(JSON.parse(z.string().parse(payload)));
  return parsed.success ? parsed.data.item : undefined;
}

const countSchema = z.object({ count: z.int() });

export function toCount(row: unknown): number {
  return countSchema.parse(row).count;
}

const usageRowSchema = z.object({ usage: fromJson(usageSchema) });

export function toUsage(row: unknown): Usage {
  return usageRowSchema.parse(row).usage;
}

const pinRowSchema = z.object({ generation: z.int(), digest: z.string() });

export function toPin(row: unknown): { readonly generation: number; readonly digest: string } {
  return pinRowSchema.parse(row);
}
