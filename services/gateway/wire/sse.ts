/** Longest single event; `response.completed` repeats the whole answer. */
export const EVENT_BYTES_MAX = 8 * 1024 * 1024;

export interface EventSplitter {
  /**
   * Takes a chunk, gives back all bytes up to the end of the last whole event (maybe none). A client that is cut off then
   * never holds half an event, and an error event can follow. Throws when one event is longer than EVENT_BYTES_MAX.
   */
  push(chunk: Buffer): Buffer;
  /** What came behind the last whole event. */
  rest(): Buffer;
}

const EMPTY: Buffer = Buffer.alloc(0);
/** An end of an event (LF CR LF) reaches at most so far back over a cut. */
const SEAM_BYTES = 2;
const LF = 0x0a;
const CR = 0x0d;

/** Server-sent events as bytes: TCP cuts anywhere, events end at an empty line. */
export function createEventSplitter(): EventSplitter {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let seamBytes: Buffer = EMPTY;
  const hold = (chunks: Buffer[], bytes: number): void => {
    if (bytes > EVENT_BYTES_MAX)
      throw new Error(`Cannot pass on a stream as one event must be at most ${EVENT_BYTES_MAX} bytes`);
    held = chunks;
    heldBytes = bytes;
  };
  return {
    push(chunk) {
      if (heldBytes === 0 && endsEvent(chunk)) return chunk;
      // A boundary may lie across the seam: the last held bytes are looked at again with the new chunk.
      const seam = Buffer.concat([seamBytes, chunk]);
      if (endOfLastEvent(seam) === 0) {
        hold([...held, chunk], heldBytes + chunk.length);
        seamBytes = seam.subarray(-SEAM_BYTES);
        return EMPTY;
      }
      const joined = heldBytes === 0 ? chunk : Buffer.concat([...held, chunk], heldBytes + chunk.length);
      const end = endOfLastEvent(joined);
      const behind = joined.subarray(end);
      hold(behind.length > 0 ? [behind] : [], behind.length);
      seamBytes = behind.subarray(-SEAM_BYTES);
      return joined.subarray(0, end);
    },
    rest: () => Buffer.concat(held, heldBytes),
  };
}

/** The bounds of the event around the byte at `at`. */
export function eventAround(block: Buffer, at: number): { readonly start: number; readonly end: number } {
  return { start: endOfLastEvent(block.subarray(0, at)), end: endOfEvent(block, at) };
}

/** The events of a block of whole ones; the last may lack its empty line. */
export function eventsOf(block: Buffer): Buffer[] {
  const events: Buffer[] = [];
  for (let at = 0, end = 0; at < block.length; at = end) {
    end = endOfEvent(block, at);
    events.push(block.subarray(at, end));
  }
  return events;
}

/** The joined `data:` lines of one event. */
export function eventData(event: Buffer): string {
  return event
    .toString("utf8")
    .split(/\r\n|\n|\r/)
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(line[5] === " " ? 6 : 5))
    .join("\n");
}

/** Whether what stands behind the last empty line of a stream is an event that only lacks its own. */
export function isWholeEvent(rest: Buffer): boolean {
  const data = eventData(rest).trim();
  if (data === "[DONE]") return true;
  try {
    JSON.parse(data);
    return true;
  } catch {
    return false;
  }
}

function endsEvent(chunk: Buffer): boolean {
  const { length } = chunk;
  return length >= 2 && chunk[length - 1] === LF && isLineStart(chunk, length - 1);
}

/** Whether the line that the LF at `at` ends is empty: behind another LF, with or without a CR between. */
function isLineStart(bytes: Buffer, at: number): boolean {
  return bytes[at - 1] === LF || (bytes[at - 1] === CR && bytes[at - 2] === LF);
}

function endOfLastEvent(bytes: Buffer): number {
  for (let at = bytes.lastIndexOf(LF); at > 0; at = bytes.lastIndexOf(LF, at - 1))
    if (isLineStart(bytes, at)) return at + 1;
  return 0;
}

function endOfEvent(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(LF, from); at >= 0; at = bytes.indexOf(LF, at + 1))
    if (at > 0 && isLineStart(bytes, at)) return at + 1;
  return bytes.length;
}
