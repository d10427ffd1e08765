import type { OrchestratorConfig } from "#core/api/pod-config.ts";
import type { ActiveRun, RunWorld } from "./active-run.ts";
import { toModelBody, turnMessages } from "./conversation.ts";
import type { ModelToolCall } from "./model-stream.ts";
import { createMessageWriter, type StreamEvent } from "./responses/stream.ts";
import { toMessages, type ConversationItem } from "./responses/messages.ts";
import { spanModel } from "./spans.ts";
import type { CallRecord, Turn } from "./store/journal.ts";
import { isAgentTool, type Toolbox } from "./tools.ts";

export interface TurnContext {
  readonly config: OrchestratorConfig;
  readonly toolbox: Toolbox;
  /** What came before this run's first turn. */
  readonly conversation: readonly ConversationItem[];
  /** This run's turns so far. */
  readonly turns: readonly Turn[];
}

/**
 * Asks the model for one turn, streams its text, and writes the answer with its planned calls into the journal before any
 * of them is made. Throws what asking the model throws; text that had come is kept as an incomplete item.
 */
export async function takeTurn(run: ActiveRun, context: TurnContext, world: RunWorld): Promise<void> {
  const { toolbox, turns } = context;
  const place = { stream: run.stream, outputIndex: run.output.length };
  const writer = createMessageWriter(place, world.newId("msg"));
  const body = toModelBody(run.record.request, {
    config: context.config,
    toolbox,
    messages: [...toMessages(context.conversation, toolbox.offeredName), ...turnMessages(turns)],
    isFirstTurn: turnsOfModel(turns) === 0,
  });
  const close = (status: "completed" | "incomplete", keep: (events: readonly StreamEvent[]) => void): void => {
    if (!writer.isOpen) return keep([]);
    const { item, event } = writer.finish(status);
    keep([event]);
    run.output.push(item);
    run.stream.send(event);
  };
  try {
    const answer = await spanModel(run.span, context.config.model, (traceHeaders) =>
      world.ask({
        body,
        principal: run.record.principal,
        signal: run.signal,
        traceHeaders,
        onText: (delta) => writer.text(delta),
        onRefusal: (delta) => writer.refusal(delta),
      }),
    );
    const whole = answer.finish === "stop" || answer.finish === "tool_calls";
    const number = turns.length;
    const calls = whole ? planCalls(answer.toolCalls, { number, turns, toolbox, newId: world.newId }) : [];
    const turn = { number, text: answer.text, finish: answer.finish, usage: answer.usage, calls };
    close(whole ? "completed" : "incomplete", (events) => world.journal.appendTurn(run.record, turn, events));
  } catch (error) {
    if (writer.isOpen) close("incomplete", (events) => world.journal.appendEvents(run.record, events));
    throw error;
  }
}

/** How often the model has been asked in this run: an adopted turn is an earlier response's. */
export function turnsOfModel(turns: readonly Turn[]): number {
  return turns.filter((turn) => turn.finish !== "adopted").length;
}

interface PlanOptions {
  readonly number: number;
  readonly turns: readonly Turn[];
  readonly toolbox: Toolbox;
  readonly newId: RunWorld["newId"];
}

/** The calls of a turn as rows. A call id that the model left out or used before in this run is replaced. */
function planCalls(calls: readonly ModelToolCall[], { number, turns, toolbox, newId }: PlanOptions): CallRecord[] {
  const used = new Set(turns.flatMap((turn) => turn.calls.map((call) => call.callId)));
  return calls.map((call, position): CallRecord => {
    const isFresh = /^[\x21-\x7e]{1,200}$/.test(call.id) && !used.has(call.id);
    const callId = isFresh ? call.id : newId("call");
    used.add(callId);
    const place = placeOf(toolbox, call.name);
    const itemId = newId(place.kind === "Client" ? "fc" : "mcp");
    const { name, arguments: args } = call;
    const nothing = { state: "planned", result: null, approval: null } as const;
    return { turn: number, position, callId, itemId, ...place, name, arguments: args, ...nothing };
  });
}

/** Whose call it is; an invented name is ours to refuse. */
function placeOf(toolbox: Toolbox, name: string): Pick<CallRecord, "kind" | "server" | "tool"> {
  const found = toolbox.find(name);
  if (!found) return { kind: "Tool", server: "", tool: "" };
  if (!isAgentTool(found)) return { kind: "Client", server: "", tool: "" };
  return { kind: "Tool", server: found.rule.server, tool: found.rule.name };
}
