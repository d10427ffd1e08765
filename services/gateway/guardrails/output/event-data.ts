import { eventData } from "../../wire/sse.ts";

/** An event with its data on one line, and where that stands. */
export interface EventWithData {
  readonly event: Buffer;
  readonly start: number;
  readonly end: number;
}

const LF = 0x0a;
const CR = 0x0d;
const FIELD = Buffer.from("data:");

/** The data of an event, all of it on one line; nothing where it has none. Data that came on several lines is joined to one. */
export function withData(event: Buffer): EventWithData | undefined {
  let found: EventWithData | undefined;
  for (let at = 0; at < event.length;) {
    const newline = event.indexOf(LF, at);
    const end = newline < 0 ? event.length : newline;
    if (event.indexOf(FIELD, at) === at) {
      if (found !== undefined) return joined(event);
      found = { event, start: at + FIELD.length, end: event[end - 1] === CR ? end - 1 : end };
    }
    at = end + 1;
  }
  return hasLoneCr(event) ? joined(event) : found;
}

/** A line may also end with CR alone. */
function hasLoneCr(event: Buffer): boolean {
  for (let at = event.indexOf(CR); at >= 0; at = event.indexOf(CR, at + 1)) if (event[at + 1] !== LF) return true;
  return false;
}

/** No string of JSON goes over a line, so that a space is as good as its end. */
function joined(event: Buffer): EventWithData | undefined {
  const lines = event.toString("utf8").split(/\r\n|\n|\r/);
  if (!lines.some((line) => line.startsWith("data:"))) return undefined;
  const others = lines.filter((line) => line !== "" && !line.startsWith("data:")).map((line) => `${line}\n`);
  const head = Buffer.from(`${others.join("")}data: `);
  const data = Buffer.from(eventData(event).replaceAll("\n", " "));
  return {
    event: Buffer.concat([head, data, Buffer.from("\n\n")]),
    start: head.length,
    end: head.length + data.length,
  };
}
