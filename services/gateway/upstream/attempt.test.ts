import { connect, createServer, type Server } from "node:net";
import { Pool } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { type AttemptCall, type AttemptOutcome, type Sink, startAttempt } from "./attempt.ts";
import { type Peer, startPeer } from "../test-world.ts";

let peer: Peer | undefined;
let pool: Pool | undefined;
let bare: Server | undefined;
afterEach(async () => {
  await pool?.destroy();
  await peer?.stop();
  bare?.close();
  peer = pool = bare = undefined;
});

/** A sink that remembers, and whether it held bytes for the client when it was cut. */
class RecordingSink implements Sink {
  readonly events: string[] = [];
  readonly #goesOn: boolean;
  readonly #handlesCut: boolean;
  constructor(options: { goesOn?: boolean; handlesCut?: boolean } = {}) {
    this.#goesOn = options.goesOn ?? true;
    this.#handlesCut = options.handlesCut ?? true;
  }
  data(chunk: Buffer): boolean {
    this.events.push(chunk.toString());
    return this.#goesOn;
  }
  end(): boolean {
    this.events.push("end");
    return true;
  }
  cut(side: string): boolean {
    this.events.push(`cut by ${side}`);
    return this.#handlesCut;
  }
}

function attemptOf(
  url: string,
  sink: Sink | undefined,
  changed: Partial<AttemptCall> = {},
): ReturnType<typeof startAttempt> {
  pool = new Pool(url, { connections: 1, bodyTimeout: 0, connectTimeout: 500 });
  return startAttempt({
    dispatcher: pool,
    method: "POST",
    path: "/",
    headers: {},
    body: Buffer.from("{}"),
    firstByteTimeoutMs: 5_000,
    idleTimeoutMs: 5_000,
    clock: systemClock,
    accept: () => sink,
    onStalled: () => {},
    ...changed,
  });
}

function shapeOf(outcome: AttemptOutcome): string {
  return outcome.kind === "failed" ? `failed ${outcome.reason} sent ${outcome.isSent}` : outcome.kind;
}

describe("startAttempt()", () => {
  it("gives bytes to the sink, then its end", async () => {
    peer = await startPeer((_, response) => response.end("whole"));
    const sink = new RecordingSink();
    expect(shapeOf(await attemptOf(peer.url, sink).outcome)).toBe("answered");
    expect(sink.events).toEqual(["whole", "end"]);
  });

  it("collects an answer that nobody accepts", async () => {
    peer = await startPeer((_, response) => {
      response.writeHead(429, { "retry-after": "1" });
      response.end("busy");
    });
    expect(await attemptOf(peer.url, undefined).outcome).toMatchObject({
      kind: "declined",
      head: { status: 429, headers: { "retry-after": "1" } },
      body: Buffer.from("busy"),
    });
  });

  it("says that nothing was sent when no connection can be had", async () => {
    expect(shapeOf(await attemptOf("http://127.0.0.1:1", undefined).outcome)).toBe("failed connect sent false");
  });

  it("says that it was sent when the connection closes before an answer", async () => {
    peer = await startPeer((_, response) => response.destroy());
    expect(shapeOf(await attemptOf(peer.url, undefined).outcome)).toBe("failed reset sent true");
  });

  it("gives up when no answer begins in time", async () => {
    peer = await startPeer(() => {});
    expect(shapeOf(await attemptOf(peer.url, undefined, { firstByteTimeoutMs: 200 }).outcome)).toBe(
      "failed timeout sent true",
    );
  });

  it("takes a head without a byte for no beginning", async () => {
    peer = await startPeer((_, response) => response.flushHeaders());
    const sink = new RecordingSink({ handlesCut: false });
    expect(shapeOf(await attemptOf(peer.url, sink, { firstByteTimeoutMs: 200 }).outcome)).toBe(
      "failed timeout sent true",
    );
    await expect.poll(() => peer?.aborted.count).toBe(1);
  });

  it("lets an answer that has begun take longer than its beginning may", async () => {
    peer = await startPeer((_, response) => {
      response.write("x");
      const more = setInterval(() => {
        clearInterval(more);
        response.end("y");
      }, 300);
    });
    const sink = new RecordingSink();
    await attemptOf(peer.url, sink, { firstByteTimeoutMs: 150 }).outcome;
    expect(sink.events).toEqual(["x", "y", "end"]);
  });

  it("cuts an upstream that falls silent, and closes it", async () => {
    peer = await startPeer((_, response) => void response.write("half"));
    const sink = new RecordingSink();
    expect(shapeOf(await attemptOf(peer.url, sink, { idleTimeoutMs: 150 }).outcome)).toBe("answered");
    expect(sink.events).toEqual(["half", "cut by upstream"]);
    await expect.poll(() => peer?.aborted.count).toBe(1);
  });

  it("does not take an upstream for silent that sends a little now and then", async () => {
    peer = await startPeer((_, response) => {
      let left = 6;
      const more = setInterval(() => {
        response.write("x");
        left -= 1;
        if (left > 0) return;
        clearInterval(more);
        response.end();
      }, 60);
    });
    const sink = new RecordingSink();
    await attemptOf(peer.url, sink, { idleTimeoutMs: 150 }).outcome;
    expect(sink.events.at(-1)).toBe("end");
  });

  it("tells a client that takes nothing from an upstream that sends nothing", async () => {
    peer = await startPeer((_, response) => void response.write("x"));
    const stalled = Promise.withResolvers<string>();
    const attempt = attemptOf(peer.url, new RecordingSink({ goesOn: false }), {
      idleTimeoutMs: 150,
      onStalled: () => stalled.resolve("stalled"),
    });
    expect(await stalled.promise).toBe("stalled");
    attempt.cut("client");
    expect(shapeOf(await attempt.outcome)).toBe("answered");
  });

  it("lets another attempt follow when nothing had reached the client", async () => {
    peer = await startPeer((_, response) => void response.write("half", () => response.destroy()));
    expect(shapeOf(await attemptOf(peer.url, new RecordingSink({ handlesCut: false })).outcome)).toBe(
      "failed reset sent true",
    );
  });

  it("closes the upstream when the client leaves before any header", async () => {
    peer = await startPeer(() => {});
    const attempt = attemptOf(peer.url, undefined);
    await expect.poll(() => peer?.requests.length).toBe(1);
    attempt.cut("client");
    expect(shapeOf(await attempt.outcome)).toBe("cut");
    await expect.poll(() => peer?.aborted.count).toBe(1);
  });

  it("never reaches an upstream when it is cut while it waits for a connection", async () => {
    peer = await startPeer(() => {});
    const first = attemptOf(peer.url, undefined);
    await expect.poll(() => peer?.requests.length).toBe(1);
    // The pool has one connection: this one waits behind the first.
    const second = startAttempt({ ...callOf(peer.url), dispatcher: pool ?? new Pool(peer.url) });
    second.cut("client");
    first.cut("client");
    expect([shapeOf(await second.outcome), shapeOf(await first.outcome)]).toEqual(["cut", "cut"]);
    await new Promise((resolve) =>
      connect(Number(new URL(peer?.url ?? "").port), "127.0.0.1", () => resolve(undefined)),
    );
    expect(peer.requests).toHaveLength(1);
  });

  it("fails in the same way when a sink throws", async () => {
    peer = await startPeer((_, response) => response.end("x"));
    const sink = new RecordingSink({ handlesCut: false });
    sink.data = () => {
      throw new Error("too long an event");
    };
    const outcome = await attemptOf(peer.url, sink).outcome;
    expect(outcome).toMatchObject({ kind: "failed", error: { message: "too long an event" } });
  });

  it("takes an answer that is no HTTP for a reset", async () => {
    bare = createServer((socket) => socket.end("nonsense\r\n\r\n"));
    await new Promise<void>((resolve) => bare?.listen(0, "127.0.0.1", resolve));
    const address = bare.address();
    const port = typeof address === "object" && address ? address.port : 0;
    expect(shapeOf(await attemptOf(`http://127.0.0.1:${port}`, undefined).outcome)).toBe("failed reset sent true");
  });
});

function callOf(url: string): AttemptCall {
  return {
    dispatcher: new Pool(url),
    method: "POST",
    path: "/",
    headers: {},
    body: Buffer.from("{}"),
    firstByteTimeoutMs: 5_000,
    idleTimeoutMs: 5_000,
    clock: systemClock,
    accept: () => undefined,
    onStalled: () => {},
  };
}
