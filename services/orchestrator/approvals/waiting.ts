import { approvalItemId } from "#core/approvals.ts";
import type { ActiveRun, RunWorld } from "../active-run.ts";
import { NO_USAGE } from "../responses/items.ts";
import { writeApprovalRequest } from "../responses/stream.ts";
import type { AskedApproval, CallRecord } from "../store/journal.ts";
import type { Toolbox } from "../tools.ts";

/** A call that people have been asked about. */
export interface WaitingCall {
  readonly call: CallRecord;
  readonly asked: AskedApproval;
}

/** Writes down that a call waits and shows it as the next item, unless the run has shown it before a crash. */
export function park(run: ActiveRun, { call, asked }: WaitingCall, world: RunWorld): void {
  const item = {
    id: approvalItemId(asked.digest),
    type: "mcp_approval_request",
    server_label: call.server,
    name: call.tool,
    arguments: call.arguments,
  } as const;
  if (run.output.some(({ id }) => id === item.id)) return world.journal.parkCall(run.record, call, { asked });
  const event = writeApprovalRequest({ stream: run.stream, outputIndex: run.output.length }, item);
  world.journal.parkCall(run.record, call, { asked, event });
  run.output.push(item);
  run.stream.send(event);
}

/** The calls that the previous response left waiting. */
export function waitingCalls(run: ActiveRun, world: RunWorld): readonly CallRecord[] {
  const previousId = run.record.request.previous_response_id;
  if (previousId === null) return [];
  return world.journal.turns(previousId).flatMap((turn) => turn.calls.filter((call) => call.state === "waiting"));
}

/** Makes calls of the previous response this run's own first turn: who goes on from it goes on with them. */
export function adopt(
  run: ActiveRun,
  calls: readonly CallRecord[],
  { world, toolbox }: { readonly world: RunWorld; readonly toolbox: Toolbox },
): void {
  const own = calls.map((call, position) => ({
    ...call,
    turn: 0,
    position,
    itemId: world.newId("mcp"),
    // What the model is offered may have other names in this request.
    name: toolbox.offeredName({ server: call.server, name: call.tool }),
  }));
  const turn = { number: 0, text: "", finish: "adopted", usage: NO_USAGE, calls: own } as const;
  world.journal.appendTurn(run.record, turn, []);
}
