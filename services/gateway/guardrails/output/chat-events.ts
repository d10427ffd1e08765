import { itemsOf, type JsonNode, memberOf, type Splice, textOf } from "../../wire/json-tree.ts";
import { NO_TEXT } from "./answer-texts.ts";
import { clearLogprobs } from "./whole-answer.ts";
import type { StreamTexts, Tail, ToEvent } from "./stream-texts.ts";

/** What an event becomes. */
export interface EventChange {
  /** Texts that have ended without having gone out whole: an event for each must come before this one. */
  readonly before: readonly Tail[];
  /** In any order. */
  readonly splices: readonly Splice[];
}

/** Members of a delta whose texts go on in later events; other strings come whole. */
const GOES_ON: ReadonlySet<string> = new Set([
  "content",
  "refusal",
  "reasoning",
  "reasoning_content",
  "arguments",
  "input",
  "text",
  "thinking",
  "transcript",
]);

/** A chunk of a chat stream; nothing when a text in it cannot be read. */
export function changeChatEvent(bytes: Buffer, root: JsonNode, texts: StreamTexts): EventChange | undefined {
  const before: Tail[] = [];
  const splices: Splice[] = [];
  for (const [position, choice] of itemsOf(memberOf(root, "choices")).entries()) {
    const index = raw(bytes, memberOf(choice, "index")) ?? String(position);
    const pieces: Piece[] = [];
    if (!collect(bytes, memberOf(choice, "delta"), { path: [], pieces })) return undefined;
    const changes = pieces.map((piece) => changePiece(bytes, root, { piece, index, texts }));
    const tails = memberOf(choice, "finish_reason")?.kind === "string" ? texts.end(`${index} `) : [];
    for (const tail of tails) {
      const here = changes.findLast(({ key }) => key === tail.key);
      if (here === undefined) before.push(tail);
      else here.text += tail.text;
    }
    splices.push(...changes.flatMap(toSplice));
    if (texts.holds) splices.push(...clearLogprobsOf(choice));
  }
  return { before, splices };
}

/** What becomes of a piece of text. */
interface PieceChange {
  readonly piece: Piece;
  /** Of the text that it goes on with; nothing of one that comes whole. */
  readonly key: string | undefined;
  text: string;
}

function changePiece(
  bytes: Buffer,
  root: JsonNode,
  { piece, index, texts }: { readonly piece: Piece; readonly index: string; readonly texts: StreamTexts },
): PieceChange {
  const { path, text } = piece;
  if (!piece.goesOn) return { piece, key: undefined, text: texts.whole(text, false) };
  const key = [index, ...path.map((step) => ("key" in step ? step.key : step.index))].join(" ");
  return { piece, key, text: texts.push(key, text, () => chunkOf(bytes, root, { index, path })) };
}

/** A chunk has them in its choice alone. */
function clearLogprobsOf(choice: JsonNode): Splice[] {
  const logprobs = memberOf(choice, "logprobs");
  return logprobs === undefined || logprobs.kind === "other" ? [] : [clearLogprobs(logprobs)];
}

function toSplice({ piece, text }: PieceChange): Splice[] {
  return text === piece.text ? [] : [{ start: piece.node.start, end: piece.node.end, text: JSON.stringify(text) }];
}

/** What of a list a place is in, or of an object. */
type Step = { readonly key: string } | { readonly index: string };

interface Piece {
  readonly node: JsonNode;
  readonly text: string;
  readonly path: readonly Step[];
  readonly goesOn: boolean;
}

function collect(
  bytes: Buffer,
  node: JsonNode | undefined,
  { path, pieces }: { readonly path: readonly Step[]; readonly pieces: Piece[] },
): boolean {
  if (node === undefined || node.kind === "other") return true;
  if (node.kind === "object")
    return node.members.every(
      ({ key, value }) => NO_TEXT.has(key) || collect(bytes, value, { path: [...path, { key }], pieces }),
    );
  if (node.kind === "array")
    return node.items.every((item, position) => {
      const index = raw(bytes, memberOf(item, "index")) ?? String(position);
      return collect(bytes, item, { path: [...path, { index }], pieces });
    });
  const text = textOf(bytes, node);
  if (text === undefined) return false;
  const last = path.at(-1);
  const goesOn = last !== undefined && "key" in last && GOES_ON.has(last.key);
  if (text !== "") pieces.push({ node, text, path, goesOn });
  return true;
}

/** A chunk that goes on with one text of one choice, with all that chunks of this stream say of themselves. */
function chunkOf(
  bytes: Buffer,
  root: JsonNode,
  { index, path }: { readonly index: string; readonly path: readonly Step[] },
): ToEvent {
  const members = root.kind === "object" ? root.members : [];
  const head = members
    .filter(({ key, value }) => OF_EACH_CHUNK.has(key) && value.end - value.start <= MEMBER_BYTES_MAX)
    .map(({ key, value }) => `${JSON.stringify(key)}:${raw(bytes, value) ?? "null"},`)
    .join("");
  return (tail) => {
    let delta = JSON.stringify(tail);
    for (const step of path.toReversed())
      delta = "key" in step ? `{${JSON.stringify(step.key)}:${delta}}` : `[{"index":${step.index},${delta.slice(1)}]`;
    return `data: {${head}"choices":[{"index":${index},"delta":${delta},"finish_reason":null}]}\n\n`;
  };
}

const OF_EACH_CHUNK: ReadonlySet<string> = new Set([
  "id",
  "object",
  "created",
  "model",
  "system_fingerprint",
  "service_tier",
]);
const MEMBER_BYTES_MAX = 512;

/** A value as it was sent. */
export function raw(bytes: Buffer, node: JsonNode | undefined): string | undefined {
  return node && bytes.toString("utf8", node.start, node.end);
}
