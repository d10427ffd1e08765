import { itemsOf, type JsonNode, memberOf, textOf } from "../../wire/json-tree.ts";

/** Which API's answer it is. */
export type AnswerShape = "chat" | "responses";

/** A text that a model has written, and where it stands in the answer. */
export interface TextPlace {
  readonly node: JsonNode;
  readonly text: string;
}

/** Members that hold no text of a model: names from closed sets, ids, bytes in base64, what others have said of the text. */
export const NO_TEXT: ReadonlySet<string> = new Set([
  "type",
  "role",
  "id",
  "call_id",
  "item_id",
  "name",
  "status",
  "object",
  "finish_reason",
  "file_id",
  "encrypted_content",
  "b64_json",
  "data",
  "result",
  "partial_image_b64",
  "obfuscation",
  "logprobs",
  "content_filter_results",
  "content_filter_result",
]);

/** All texts of a whole answer; nothing when one of them cannot be read. */
export function answerTexts(bytes: Buffer, root: JsonNode, shape: AnswerShape): TextPlace[] | undefined {
  const nodes =
    shape === "chat"
      ? itemsOf(memberOf(root, "choices")).flatMap((choice) => [memberOf(choice, "message"), memberOf(choice, "text")])
      : [memberOf(root, "output"), memberOf(root, "output_text")];
  return textsIn(bytes, nodes);
}

/** All texts below some values; nothing when one of them cannot be read. */
export function textsIn(bytes: Buffer, nodes: readonly (JsonNode | undefined)[]): TextPlace[] | undefined {
  const places: TextPlace[] = [];
  const isRead = nodes.every((node) => collect(bytes, node, places));
  return isRead ? places : undefined;
}

function collect(bytes: Buffer, node: JsonNode | undefined, places: TextPlace[]): boolean {
  if (node === undefined || node.kind === "other") return true;
  if (node.kind === "array") return node.items.every((item) => collect(bytes, item, places));
  if (node.kind === "object")
    return node.members.every(({ key, value }) => NO_TEXT.has(key) || collect(bytes, value, places));
  const text = textOf(bytes, node);
  if (text === undefined) return false;
  if (text !== "") places.push({ node, text });
  return true;
}

/** Where an answer repeats its text token by token: a text that is changed must not stand there as it was. */
export function logprobsIn(node: JsonNode | undefined): JsonNode[] {
  if (node === undefined) return [];
  if (node.kind === "array") return node.items.flatMap(logprobsIn);
  if (node.kind !== "object") return [];
  return node.members.flatMap(({ key, value }) =>
    key === "logprobs" && value.kind !== "other" ? [value] : logprobsIn(value),
  );
}
