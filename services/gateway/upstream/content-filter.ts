import { eventAround, eventData } from "../wire/sse.ts";

/**
 * Azure's own filter was down: its model answers 200, the content passed unfiltered, and an error stands where the filter's results
 * would be. Seen under three names: `content_filter_results` of a choice, a prompt or a response's `content_filters` (documented), and
 * `content_filter_result` in every chunk of a stream (as clients have recorded it).
 */
const CODE = "content_filter_error";
const MARK = Buffer.from(`"${CODE}"`);
/** Up to here an answer is parsed; above, that would block the loop, and code beside its key is taken for what it says. */
const PARSED_BYTES_MAX = 64 * 1024;

/** Whether a JSON answer says that Azure's filter was down. */
export function isFilterDown(answer: Buffer): boolean {
  if (answer.length > PARSED_BYTES_MAX) return hasFilterError(answer);
  return answer.includes(MARK) && tellsFilterDown(parse(answer.toString("utf8")));
}

/** The same of a piece of an answer. A text that quotes the words has other quotes around them. */
export function hasFilterError(piece: Buffer): boolean {
  return piece.includes(MARK) && /"code"\s*:\s*"content_filter_error"/.test(piece.toString("latin1"));
}

/** The same of the event around the byte at `at`. */
export function isFilterDownAt(block: Buffer, at: number): boolean {
  const { start, end } = eventAround(block, at);
  return tellsFilterDown(parse(eventData(block.subarray(start, end))));
}

/** Looks where Azure writes it, and nowhere else: what a client sent comes back in a response's `metadata` and `tools`. */
function tellsFilterDown(body: unknown): boolean {
  const response = member(body, "response") ?? body;
  return [...list(body, "choices"), ...list(body, "prompt_filter_results"), ...list(response, "content_filters")].some(
    (place) => hasError(member(place, "content_filter_results")) || hasError(member(place, "content_filter_result")),
  );
}

function hasError(results: unknown): boolean {
  return member(member(results, "error"), "code") === CODE;
}

function list(value: unknown, name: string): readonly unknown[] {
  const found = member(value, name);
  return Array.isArray(found) ? found : [];
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}
