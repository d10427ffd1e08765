import { ModelError } from "../model-stream.ts";
import {
  type FunctionCallItem,
  type McpApprovalRequestItem,
  type McpCallItem,
  type MessageItem,
  type OutputItem,
  toTextPart,
} from "./items.ts";

/** One event of a response's stream: `type` and `sequence_number` first, the rest by type. */
export interface StreamEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly [field: string]: unknown;
}

/** From here on a run gets no more text: a bound against a model that never stops. What ends the run has its place still. */
export const EVENTS_MAX = 200_000;

/** Numbers the events of one run and hands them to whoever listens; keeps none. */
export interface RunStream {
  /** The number of the next event. */
  readonly nextSequence: number;
  /** Numbers an event without sending it: it is journaled first. Send it before the next one is numbered. */
  prepare(type: string, fields: Readonly<Record<string, unknown>>): StreamEvent;
  send(event: StreamEvent): void;
  /** Numbers and sends. */
  emit(type: string, fields: Readonly<Record<string, unknown>>): void;
  /** Returns how to stop listening. */
  readonly subscribe: (listener: (event: StreamEvent) => void) => () => void;
}

/** Starts at `firstSequence`: after a crash the numbers go on after the last stored one. */
export function createRunStream(firstSequence: number): RunStream {
  let nextSequence = firstSequence;
  const listeners = new Set<(event: StreamEvent) => void>();
  const prepare = (type: string, fields: Readonly<Record<string, unknown>>): StreamEvent => {
    const event = { type, sequence_number: nextSequence, ...fields };
    nextSequence += 1;
    return event;
  };
  const send = (event: StreamEvent): void => {
    for (const listener of listeners) listener(event);
  };
  return {
    get nextSequence() {
      return nextSequence;
    },
    prepare,
    send,
    emit: (type, fields) => send(prepare(type, fields)),
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** Where an item stands in the output, for its events. */
export interface ItemPlace {
  readonly stream: RunStream;
  readonly outputIndex: number;
}

/** Streams an assistant message as it comes; opens the item at the first word and a part when the kind changes. */
export interface MessageWriter {
  readonly isOpen: boolean;
  /** Throws ModelError when the run has too many events. */
  text(delta: string): void;
  refusal(delta: string): void;
  /** Ends the part and the item; the `output_item.done` event is returned unsent, for the journal first. */
  finish(status: "completed" | "incomplete"): { readonly item: MessageItem; readonly event: StreamEvent };
}

type PartKind = "output_text" | "refusal";

export function createMessageWriter(place: ItemPlace, id: string): MessageWriter {
  const { stream, outputIndex } = place;
  const parts: { kind: PartKind; text: string }[] = [];
  const base = (): Record<string, unknown> => ({
    item_id: id,
    output_index: outputIndex,
    content_index: parts.length - 1,
  });
  const toPart = (part: { kind: PartKind; text: string }): MessageItem["content"][number] =>
    part.kind === "refusal" ? { type: "refusal", refusal: part.text } : toTextPart(part.text);
  const toItem = (status: MessageItem["status"]): MessageItem => ({
    id,
    type: "message",
    role: "assistant",
    status,
    content: status === "in_progress" ? [] : parts.map(toPart),
  });

  const closePart = (): void => {
    const part = parts.at(-1);
    if (!part) return;
    if (part.kind === "refusal") stream.emit("response.refusal.done", { ...base(), refusal: part.text });
    else stream.emit("response.output_text.done", { ...base(), text: part.text, logprobs: [] });
    stream.emit("response.content_part.done", { ...base(), part: toPart(part) });
  };
  const partOf = (kind: PartKind): { kind: PartKind; text: string } => {
    const last = parts.at(-1);
    if (last?.kind === kind) return last;
    if (last) closePart();
    else stream.emit("response.output_item.added", { output_index: outputIndex, item: toItem("in_progress") });
    const part = { kind, text: "" };
    parts.push(part);
    stream.emit("response.content_part.added", { ...base(), part: toPart(part) });
    return part;
  };
  const write = (kind: PartKind, delta: string): void => {
    if (stream.nextSequence >= EVENTS_MAX)
      throw new ModelError("upstream_error", `The run's answers are too long: the limit is ${EVENTS_MAX} events`);
    const part = partOf(kind);
    part.text += delta;
    if (kind === "refusal") stream.emit("response.refusal.delta", { ...base(), delta });
    else stream.emit("response.output_text.delta", { ...base(), delta, logprobs: [] });
  };

  return {
    get isOpen() {
      return parts.length > 0;
    },
    text: (delta) => write("output_text", delta),
    refusal: (delta) => write("refusal", delta),
    finish(status) {
      closePart();
      const item = toItem(status);
      return { item, event: stream.prepare("response.output_item.done", { output_index: outputIndex, item }) };
    },
  };
}

/** The events of a call that the client is asked to make, all at once. Returns the last one unsent, for the journal first. */
export function writeFunctionCall(place: ItemPlace, item: FunctionCallItem): StreamEvent {
  const { stream, outputIndex } = place;
  const base = { item_id: item.id, output_index: outputIndex };
  stream.emit("response.output_item.added", {
    output_index: outputIndex,
    item: { ...item, arguments: "", status: "in_progress" },
  });
  stream.emit("response.function_call_arguments.delta", { ...base, delta: item.arguments });
  stream.emit("response.function_call_arguments.done", { ...base, arguments: item.arguments });
  return stream.prepare("response.output_item.done", { output_index: outputIndex, item });
}

/** Announces a call of the agent's own tool, before it is made. */
export function beginMcpCall(place: ItemPlace, item: McpCallItem): void {
  const { stream, outputIndex } = place;
  const base = { item_id: item.id, output_index: outputIndex };
  stream.emit("response.output_item.added", { output_index: outputIndex, item: { ...item, arguments: "" } });
  stream.emit("response.mcp_call.in_progress", base);
  stream.emit("response.mcp_call_arguments.delta", { ...base, delta: item.arguments });
  stream.emit("response.mcp_call_arguments.done", { ...base, arguments: item.arguments });
}

/** Ends a call of the agent's own tool. Returns the last event unsent, for the journal first. */
export function endMcpCall(place: ItemPlace, item: McpCallItem): StreamEvent {
  const { stream, outputIndex } = place;
  const outcome = item.status === "completed" ? "completed" : "failed";
  stream.emit(`response.mcp_call.${outcome}`, { item_id: item.id, output_index: outputIndex });
  return stream.prepare("response.output_item.done", { output_index: outputIndex, item });
}

/** Shows that a call waits for a person. Returns the last event unsent, for the journal first. */
export function writeApprovalRequest({ stream, outputIndex }: ItemPlace, item: McpApprovalRequestItem): StreamEvent {
  stream.emit("response.output_item.added", { output_index: outputIndex, item });
  return stream.prepare("response.output_item.done", { output_index: outputIndex, item });
}

/** A whole finished item as events, for a response that is streamed again. */
export function replayItem(place: ItemPlace, item: OutputItem): void {
  const { stream } = place;
  if (item.type === "function_call") return stream.send(writeFunctionCall(place, item));
  if (item.type === "mcp_approval_request") return stream.send(writeApprovalRequest(place, item));
  if (item.type === "mcp_call") {
    beginMcpCall(place, { ...item, output: null, error: null, status: "in_progress" });
    return stream.send(endMcpCall(place, item));
  }
  const writer = createMessageWriter(place, item.id);
  for (const part of item.content) {
    if (part.type === "refusal") writer.refusal(part.refusal);
    else writer.text(part.text);
  }
  stream.send(writer.finish(item.status === "incomplete" ? "incomplete" : "completed").event);
}
