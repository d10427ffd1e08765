import { ModelError, type ModelAnswer } from "./model-stream.ts";
import type { ToolOutcome } from "./mcp-result.ts";
import type { CallRecord, NewRun, RunRecord } from "./store/journal.ts";
import type { OpenSpan, TracePlace } from "./trace.ts";

/** A run of the agent. Its spans, by the GenAI conventions, have names that were configured, numbers and codes, never a text. */
export function beginRunSpan(place: TracePlace, run: Pick<NewRun, "id" | "model">): OpenSpan {
  return place.begin({
    name: `invoke_agent ${run.model}`,
    kind: "internal",
    attributes: {
      "gen_ai.operation.name": "invoke_agent",
      "gen_ai.provider.name": "supercargo",
      "gen_ai.agent.name": run.model,
      "gen_ai.response.id": run.id,
    },
  });
}

/** The end of a run as the journal gets it. */
export function endRunSpan(
  span: OpenSpan,
  run: Pick<RunRecord, "status" | "incompleteReason" | "error" | "usage">,
): void {
  const { status, incompleteReason, error, usage } = run;
  span.end({
    attributes: {
      "gen_ai.usage.input_tokens": usage.input_tokens,
      "gen_ai.usage.output_tokens": usage.output_tokens,
      "gen_ai.response.finish_reasons": [incompleteReason ?? status],
    },
    error: status === "failed" ? (error?.code ?? "failed") : undefined,
  });
}

/** One call of the model; the gateway's spans are under it. Ends it, whatever `ask` does. */
export async function spanModel(
  parent: TracePlace,
  alias: string,
  ask: (headers: TracePlace["headers"]) => Promise<ModelAnswer>,
): Promise<ModelAnswer> {
  const span = parent.begin({
    name: `chat ${alias}`,
    kind: "client",
    attributes: {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "supercargo",
      "gen_ai.request.model": alias,
    },
  });
  try {
    const answer = await ask(span.headers);
    span.end({
      attributes: {
        "gen_ai.usage.input_tokens": answer.usage.input_tokens,
        "gen_ai.usage.output_tokens": answer.usage.output_tokens,
        "gen_ai.response.finish_reasons": [answer.finish],
      },
    });
    return answer;
  } catch (error) {
    span.end({ error: error instanceof ModelError ? error.code : "cancelled" });
    throw error;
  }
}

/** One call of a tool that has left the pod, with its repeat if there is one. */
export async function spanTool(
  parent: TracePlace,
  call: Pick<CallRecord, "callId" | "server" | "tool">,
  send: (headers: TracePlace["headers"]) => Promise<ToolOutcome>,
): Promise<ToolOutcome> {
  const span = parent.begin({
    name: `execute_tool ${call.server}/${call.tool}`,
    kind: "client",
    attributes: {
      "gen_ai.operation.name": "execute_tool",
      "gen_ai.tool.name": call.tool,
      "gen_ai.tool.call.id": call.callId,
      "gen_ai.tool.type": "extension",
      "mcp.method.name": "tools/call",
      "supercargo.tool.server": call.server,
    },
  });
  try {
    const outcome = await send(span.headers);
    span.end({ error: ERRORS[outcome.kind] });
    return outcome;
  } catch (error) {
    span.end({ error: "internal_error" });
    throw error;
  }
}

const ERRORS = {
  Done: undefined,
  Failed: "tool_error",
  NotExecuted: "not_executed",
  Unknown: "unknown_outcome",
} as const;
