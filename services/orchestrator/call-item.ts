import { approvalItemId } from "#core/approvals.ts";
import type { PolicyRefusal } from "#core/policy.ts";
import { NO_TOOL_USAGE, type ToolUsage } from "#core/tool-usage.ts";
import type { ActiveRun, RunWorld } from "./active-run.ts";
import { type ToolOutcome, toExecutionError } from "./mcp-result.ts";
import type { McpCallItem } from "./responses/items.ts";
import { beginMcpCall, endMcpCall } from "./responses/stream.ts";
import type { AskedApproval, CallEnd, CallRecord } from "./store/journal.ts";

/** What the model reads when a crash or a broken connection hid the outcome of a call that must not be repeated. */
const UNVERIFIED = "effect unverified, verify before retrying";

/** How a call looks at its end, and what the model reads. */
type ItemOutcome = Pick<McpCallItem, "output" | "error" | "status"> & { readonly text: string };

/** Writes the end of a call into the journal, then shows it. */
export type EndItem = (outcome: ItemOutcome, state: CallEnd["state"], usage?: ToolUsage) => void;

/** Shows the call in the stream; the returned function ends it. */
export function beginItem(
  run: ActiveRun,
  call: CallRecord,
  { world, asked }: { readonly world: RunWorld; readonly asked: AskedApproval | undefined },
): EndItem {
  const place = { stream: run.stream, outputIndex: run.output.length };
  const item: McpCallItem = {
    id: call.itemId,
    type: "mcp_call",
    server_label: call.server === "" ? "unknown" : call.server,
    name: call.tool === "" ? call.name : call.tool,
    arguments: call.arguments,
    output: null,
    error: null,
    status: "in_progress",
    approval_request_id: asked ? approvalItemId(asked.digest) : null,
  };
  beginMcpCall(place, item);
  return ({ text: result, ...outcome }, state, usage = NO_TOOL_USAGE) => {
    const done = { ...item, ...outcome };
    const event = endMcpCall(place, done);
    const at = { countIn: world.counter.countIn, atMs: world.clock.now() };
    world.journal.endCall(run.record, call, { state, result, event, usage: { ...at, amounts: usage.amounts } });
    run.output.push(done);
    run.stream.send(event);
  };
}

export function toItemOutcome(outcome: ToolOutcome): [ItemOutcome, CallEnd["state"]] {
  if (outcome.kind === "Done")
    return [{ output: outcome.text, error: null, status: "completed", text: outcome.text }, "done"];
  if (outcome.kind === "Unknown") return [toUnknownItem(outcome.text), "unknown"];
  return [{ output: null, error: outcome.error, status: "failed", text: `Error: ${outcome.text}` }, "failed"];
}

export function toUnknownItem(why: string): ItemOutcome {
  const text = `Error: ${why}: ${UNVERIFIED}`;
  return { output: null, error: toExecutionError(text), status: "failed", text };
}

export function toRefusedItem(
  decision: Pick<PolicyRefusal, "code" | "reason">,
  status: "failed" | "incomplete",
): ItemOutcome {
  const text = `Refused (${decision.code}): ${decision.reason}`;
  return { output: null, error: toExecutionError(text), status, text };
}

/** What another call of the same approval has brought: it is not made again. */
export function toSharedItem(made: { readonly state: CallEnd["state"]; readonly result: string }): ItemOutcome {
  const { state, result: text } = made;
  if (state === "done") return { output: text, error: null, status: "completed", text };
  return { output: null, error: toExecutionError(text), status: "failed", text };
}
