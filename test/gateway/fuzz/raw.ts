import { connect } from "node:net";

/** One answer as it came over the wire. */
export interface Answer {
  readonly status: number;
  /** Names in lower case; the last of equal ones. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** whole: as long as its head said. broke: the connection ended before. none: not even a head came. */
  readonly end: "whole" | "broke" | "none";
}

export interface RawOptions {
  readonly port: number;
  /** An answer to HEAD has no body, whatever its head says. */
  readonly isHead?: boolean;
  /** @default 5000 */
  readonly waitMs?: number;
}

/**
 * Sends these bytes on a connection of its own and reads one answer: no client between that would mend or refuse them. Resolves
 * also when nothing comes within the wait.
 */
export function sendRaw(bytes: Buffer, { port, isHead = false, waitMs = 5_000 }: RawOptions): Promise<Answer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, "127.0.0.1", () => void socket.write(bytes));
    const finish = (hasEnded: boolean): void => {
      const answer = parseAnswer(Buffer.concat(chunks), isHead, hasEnded);
      if (answer.end !== "whole" && !hasEnded) return;
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(finish, waitMs, true);
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      finish(false);
    });
    socket.on("error", () => {});
    socket.on("close", () => finish(true));
  });
}

const NONE: Answer = { status: 0, headers: {}, body: Buffer.alloc(0), end: "none" };

function parseAnswer(bytes: Buffer, isHead: boolean, hasEnded: boolean): Answer {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return NONE;
  const [line = "", ...rows] = bytes.toString("latin1", 0, headEnd).split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(line)?.[1] ?? 0);
  const rest = bytes.subarray(headEnd + 4);
  if (status >= 100 && status < 200) return parseAnswer(rest, isHead, hasEnded);
  const headers = Object.fromEntries(
    rows.map((row) => [row.slice(0, row.indexOf(":")).toLowerCase(), row.slice(row.indexOf(":") + 1).trim()]),
  );
  if (isHead) return { status, headers, body: Buffer.alloc(0), end: "whole" };
  return { status, headers, ...bodyOf(rest, headers, hasEnded) };
}

function bodyOf(
  rest: Buffer,
  headers: Readonly<Record<string, string>>,
  hasEnded: boolean,
): Pick<Answer, "body" | "end"> {
  if (headers["transfer-encoding"] === "chunked") return unchunk(rest);
  const length = headers["content-length"];
  if (length === undefined) return { body: rest, end: hasEnded ? "whole" : "broke" };
  const body = rest.subarray(0, Number(length));
  return { body, end: body.length === Number(length) ? "whole" : "broke" };
}

function unchunk(rest: Buffer): Pick<Answer, "body" | "end"> {
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = rest.indexOf("\r\n", at);
    const size = lineEnd < 0 ? Number.NaN : Number.parseInt(rest.toString("latin1", at, lineEnd), 16);
    const start = lineEnd + 2;
    if (Number.isNaN(size) || rest.length < start + size + 2) return { body: Buffer.concat(parts), end: "broke" };
    if (size === 0) return { body: Buffer.concat(parts), end: "whole" };
    parts.push(rest.subarray(start, start + size));
    at = start + size + 2;
  }
}
