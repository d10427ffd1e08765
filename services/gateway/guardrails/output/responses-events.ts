import { type JsonNode, memberOf, type Splice, textOf } from "../../wire/json-tree.ts";
import { logprobsIn, textsIn } from "./answer-texts.ts";
import { type EventChange, raw } from "./chat-events.ts";
import type { StreamTexts, Tail, ToEvent } from "./stream-texts.ts";
import { clearLogprobs } from "./whole-answer.ts";

/** Bytes in base64, not text. */
const NO_TEXT_DELTA = /audio\.delta$/;
const RESPONSE_END = /^response\.(completed|incomplete|failed)$/;
/** Ends all texts of a part, not only the one whose name it has. */
const PART_END = /_part\.done$/;

/** An event of a stream of Responses; nothing when a text in it cannot be read. */
export function changeResponsesEvent(bytes: Buffer, root: JsonNode, texts: StreamTexts): EventChange | undefined {
  const type = textOf(bytes, memberOf(root, "type")) ?? "";
  const delta = memberOf(root, "delta");
  const isDelta = type.endsWith(".delta") && delta?.kind === "string";
  if (isDelta) return NO_TEXT_DELTA.test(type) ? NO_CHANGE : changeDelta(bytes, root, { delta, type, texts });
  const before = endsOf(bytes, root, { type, texts });
  const splices = changeWhole(bytes, root, texts);
  return splices && { before, splices };
}

const NO_CHANGE: EventChange = { before: [], splices: [] };

function changeDelta(
  bytes: Buffer,
  root: JsonNode,
  { delta, type, texts }: { readonly delta: JsonNode; readonly type: string; readonly texts: StreamTexts },
): EventChange | undefined {
  const text = textOf(bytes, delta);
  if (text === undefined) return undefined;
  const key = `${placeOf(bytes, root)}${type.slice(0, -".delta".length)}`;
  const out = texts.push(key, text, () => deltaOf(bytes, root, type));
  const splices = texts.holds ? logprobsIn(root).map(clearLogprobs) : [];
  if (out !== text) splices.push({ start: delta.start, end: delta.end, text: JSON.stringify(out) });
  return { before: [], splices };
}

/** Where in the output a text stands; each part has a blank behind it. */
function placeOf(bytes: Buffer, root: JsonNode): string {
  return ["output_index", "item_id", "content_index", "summary_index"]
    .map((name) => `${raw(bytes, memberOf(root, name)) ?? "-"} `)
    .join("");
}

/** The texts that an event says are complete. */
function endsOf(
  bytes: Buffer,
  root: JsonNode,
  { type, texts }: { readonly type: string; readonly texts: StreamTexts },
): Tail[] {
  if (RESPONSE_END.test(type)) return texts.end("");
  if (!type.endsWith(".done")) return [];
  if (type === "response.output_item.done") return texts.end(`${raw(bytes, memberOf(root, "output_index")) ?? "-"} `);
  const place = placeOf(bytes, root);
  return texts.end(PART_END.test(type) ? place : `${place}${type.slice(0, -".done".length)}`);
}

/** What is repeated whole, or comes at once. Of a response its output alone is the model's; the rest is what the client sent. */
function changeWhole(bytes: Buffer, root: JsonNode, texts: StreamTexts): Splice[] | undefined {
  const response = memberOf(root, "response");
  const nodes = [
    ...(root.kind === "object" ? root.members : [])
      .filter(({ key }) => !NOT_WRITTEN.has(key))
      .map(({ value }) => value),
    memberOf(response, "output"),
    memberOf(response, "output_text"),
  ];
  const splices = textsIn(bytes, nodes)?.flatMap(({ node, text }): Splice[] => {
    const out = texts.whole(text, true);
    return out === text ? [] : [{ start: node.start, end: node.end, text: JSON.stringify(out) }];
  });
  const written = response === undefined ? root : memberOf(response, "output");
  if (splices && texts.holds) splices.push(...logprobsIn(written).map(clearLogprobs));
  return splices;
}

const NOT_WRITTEN: ReadonlySet<string> = new Set(["response", "type", "item_id"]);

/** An event that goes on with one text. */
function deltaOf(bytes: Buffer, root: JsonNode, type: string): ToEvent {
  const members = (root.kind === "object" ? root.members : [])
    .filter(({ key }) => OF_EACH_DELTA.has(key))
    .map(({ key, value }) => `${JSON.stringify(key)}:${raw(bytes, value) ?? "null"},`)
    .join("");
  const logprobs = memberOf(root, "logprobs") === undefined ? "" : ',"logprobs":[]';
  return (tail, sequence) => {
    const head = `"type":${JSON.stringify(type)},"sequence_number":${sequence},${members}`;
    return `event: ${type}\ndata: {${head}"delta":${JSON.stringify(tail)}${logprobs}}\n\n`;
  };
}

const OF_EACH_DELTA: ReadonlySet<string> = new Set(["item_id", "output_index", "content_index", "summary_index"]);
