import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../clock.ts";
import { LEASES, NAMESPACES, PODS } from "./resources.ts";
import { createKubeClient } from "./transport.ts";
import type { KubeClient, KubeObject, WatchEvent } from "./types.ts";
import { createLineSplitter } from "./watch-stream.ts";

let server: Server | undefined;
let client: KubeClient | undefined;
afterEach(() => {
  client?.close();
  server?.closeAllConnections();
  server?.close();
});

interface Seen {
  readonly method: string | undefined;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A server that answers as told; it shows what was asked. How a real API server answers is told in kubernetes.md. */
async function serve(
  answer: (request: Seen, response: ServerResponse, count: number) => void,
): Promise<{ client: KubeClient; seen: Seen[]; waits: number[] }> {
  const seen: Seen[] = [];
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method, headers } = request;
      const now = {
        method,
        url: decodeURIComponent(request.url ?? ""),
        headers,
        body: Buffer.concat(chunks).toString(),
      };
      seen.push(now);
      answer(now, response, seen.length);
    });
  };
  const listening = createServer(listener);
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  const address = listening.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const waits: number[] = [];
  client = createKubeClient({
    server: `http://127.0.0.1:${port}`,
    token: () => `token-${seen.length}`,
    clock: { ...systemClock, sleep: async (ms) => void waits.push(ms) },
    random: () => 0.5,
  });
  return { client, seen, waits };
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

const status = (code: number, reason: string, message = reason): unknown => ({ kind: "Status", code, reason, message });
const pod: KubeObject = { apiVersion: "v1", kind: "Pod", metadata: { name: "a", namespace: "n" } };

describe("createKubeClient() errors", () => {
  it.each([
    [404, status(404, "NotFound", 'pods "a" not found'), "NotFound"],
    [409, status(409, "Conflict"), "Conflict"],
    [409, status(409, "AlreadyExists"), "AlreadyExists"],
    [410, status(410, "Expired"), "Gone"],
    [401, status(401, "Unauthorized"), "Unauthorized"],
    [403, status(403, "Forbidden"), "Forbidden"],
    [422, status(422, "Invalid"), "Invalid"],
    [400, status(400, "BadRequest"), "Invalid"],
    [500, "not json", "Unknown"],
  ])("turns %i into a value: %o is %s", async (code, body, kind) => {
    const { client: kube, seen } = await serve((_, response) => json(response, code, body));
    const result = await kube.get(PODS, { namespace: "n", name: "a" });
    expect(result).toMatchObject({ ok: false, error: { kind, status: code } });
    expect(seen).toHaveLength(1);
  });

  it("says Unreachable when nobody listens, after its tries", async () => {
    const kube = createKubeClient({ server: "http://127.0.0.1:1", clock: systemClock });
    const result = await kube.get(PODS, { namespace: "n", name: "a" }, { attemptsMax: 2 });
    expect(result).toMatchObject({ ok: false, error: { kind: "Unreachable", status: 0 } });
  });

  it("gives up after its timeout", async () => {
    const { client: kube } = await serve(() => undefined);
    const result = await kube.get(PODS, { namespace: "n", name: "a" }, { timeoutMs: 50, attemptsMax: 1 });
    expect(result).toMatchObject({ ok: false, error: { kind: "Unreachable", message: "No answer within 50 ms" } });
  });
});

describe("createKubeClient() repeats", () => {
  it("obeys Retry-After", async () => {
    const { client: kube, waits } = await serve((_, response, count) =>
      count === 1
        ? json(response.setHeader("retry-after", "3"), 429, status(429, "TooManyRequests"))
        : json(response, 200, pod),
    );
    expect(await kube.get(PODS, { namespace: "n", name: "a" })).toMatchObject({ ok: true });
    expect(waits).toEqual([3_000]);
  });

  it("tries five times at most", async () => {
    const { client: kube, seen } = await serve((_, response) => json(response, 503, status(503, "ServiceUnavailable")));
    expect(await kube.get(PODS, { namespace: "n", name: "a" })).toMatchObject({
      ok: false,
      error: { kind: "Unreachable" },
    });
    expect(seen).toHaveLength(5);
  });

  it.each<[string, (kube: KubeClient) => Promise<unknown>, number]>([
    ["a get", (kube) => kube.get(PODS, { namespace: "n", name: "a" }), 2],
    ["an apply", (kube) => kube.apply(PODS, pod, { fieldManager: "t", force: true }), 2],
    [
      "an update with resourceVersion",
      (kube) => kube.update(PODS, { ...pod, metadata: { ...pod.metadata, resourceVersion: "1" } }),
      2,
    ],
    ["an update without", (kube) => kube.update(PODS, pod), 1],
    ["a create with a name", (kube) => kube.create(PODS, pod), 2],
    ["a create without", (kube) => kube.create(PODS, { ...pod, metadata: { ...pod.metadata, name: "" } }), 1],
    ["a delete with UID", (kube) => kube.delete(PODS, pod.metadata, { preconditions: { uid: "u" } }), 2],
    ["a delete without", (kube) => kube.delete(PODS, pod.metadata), 1],
  ])("after a cut: %s", async (_, call, times) => {
    const { client: kube, seen } = await serve((__, response, count) =>
      count === 1 ? response.destroy() : json(response, 200, pod),
    );
    await call(kube);
    expect(seen).toHaveLength(times);
  });
});

describe("createKubeClient() requests", () => {
  it("asks for the token anew each time, and sends the length of a DELETE body", async () => {
    const { client: kube, seen } = await serve((_, response) => json(response, 200, pod));
    await kube.get(PODS, { namespace: "n", name: "a" });
    await kube.delete(PODS, { namespace: "n", name: "a" }, { preconditions: { uid: "u", resourceVersion: "7" } });
    expect(seen.map(({ headers }) => headers.authorization)).toEqual(["Bearer token-0", "Bearer token-1"]);
    expect(seen[1]?.headers["content-length"]).toBe(String(seen[1]?.body.length));
    expect(JSON.parse(seen[1]?.body ?? "")).toMatchObject({ preconditions: { uid: "u", resourceVersion: "7" } });
  });

  it.each<[string, (kube: KubeClient) => Promise<unknown>, string]>([
    [
      "namespaced",
      (kube) => kube.get(LEASES, { namespace: "n", name: "a" }),
      "GET /apis/coordination.k8s.io/v1/namespaces/n/leases/a",
    ],
    ["cluster-scoped", (kube) => kube.get(NAMESPACES, { name: "a" }), "GET /api/v1/namespaces/a"],
    [
      "applied status",
      (kube) => kube.applyStatus(PODS, pod, { fieldManager: "t", force: true }),
      "PATCH /api/v1/namespaces/n/pods/a/status?fieldValidation=Warn&fieldManager=t&force=true",
    ],
  ])("go to the right path: %s", async (_, call, expected) => {
    const { client: kube, seen } = await serve((__, response) => json(response, 200, pod));
    await call(kube);
    expect(`${seen[0]?.method} ${seen[0]?.url}`).toBe(expected);
  });

  it("return the server's Date, the clock of money", async () => {
    const { client: kube } = await serve((_, response) =>
      json(response.setHeader("date", "Tue, 24 Nov 2026 23:00:00 GMT"), 200, pod),
    );
    const result = await kube.get(PODS, { namespace: "n", name: "a" });
    expect(result.ok && result.dateMs).toBe(Date.parse("2026-11-24T23:00:00Z"));
  });

  it("list all pages, and start over when a page has expired", async () => {
    const page = (name: string, token?: string): unknown => ({
      metadata: { resourceVersion: "9", ...(token === undefined ? {} : { continue: token }) },
      items: [{ metadata: { name } }],
    });
    const { client: kube, seen } = await serve((_, response, count) => {
      if (count === 1) json(response, 200, page("a", "first"));
      else if (count === 2) json(response, 410, status(410, "Expired"));
      else if (count === 3) json(response, 200, page("b", "second"));
      else json(response, 200, page("c"));
    });
    const result = await kube.list(PODS, { namespace: "n", limit: 1 });
    expect(result).toMatchObject({
      ok: true,
      value: { resourceVersion: "9", items: [{ kind: "Pod", metadata: { name: "b" } }, { metadata: { name: "c" } }] },
    });
    expect(seen.map(({ url }) => /continue=(\w+)/.exec(url)?.[1])).toEqual([undefined, "first", undefined, "second"]);
  });
});

describe("createKubeClient().watch()", () => {
  const query = { namespace: "n", resourceVersion: "5", timeoutSeconds: 60 };
  const line = (type: string, object: unknown): string => `${JSON.stringify({ type, object })}\n`;

  it("reads events however they are cut, and ends with the stream", async () => {
    const text = line("ADDED", pod) + line("BOOKMARK", { metadata: { resourceVersion: "8" } }) + line("DELETED", pod);
    const { client: kube, seen } = await serve((_, response) => {
      response.writeHead(200);
      for (const byte of text) response.write(byte);
      response.end();
    });
    const events: WatchEvent[] = [];
    const end = await kube.watch(PODS, query, {
      signal: new AbortController().signal,
      onEvent: (event) => events.push(event),
    });
    expect(end).toEqual({ kind: "Closed" });
    expect(events.map(({ type }) => type)).toEqual(["ADDED", "BOOKMARK", "DELETED"]);
    expect(events[1]?.object.metadata.resourceVersion).toBe("8");
    expect(seen[0]?.url).toContain("watch=true&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=60");
  });

  it.each<[string, (response: ServerResponse) => void, unknown]>([
    ["410 as a status", (response) => json(response, 410, status(410, "Expired")), { kind: "Gone" }],
    [
      "410 as an event",
      (response) => {
        response.writeHead(200);
        response.end(line("ERROR", status(410, "Expired")));
      },
      { kind: "Gone" },
    ],
    [
      "a refusal",
      (response) => json(response, 403, status(403, "Forbidden")),
      { kind: "Failed", error: { kind: "Forbidden" } },
    ],
    [
      "half a line",
      (response) => {
        response.writeHead(200);
        response.write('{"type":"ADD');
        setImmediate(() => response.destroy());
      },
      { kind: "Failed", error: { kind: "Unreachable" } },
    ],
    [
      "no JSON",
      (response) => {
        response.writeHead(200);
        response.end("<html>\n");
      },
      { kind: "Failed", error: { kind: "Unreachable" } },
    ],
  ])("ends with %s", async (_, answer, expected) => {
    const { client: kube } = await serve((__, response) => answer(response));
    const end = await kube.watch(PODS, query, { signal: new AbortController().signal, onEvent: () => undefined });
    expect(end).toMatchObject(expected ?? {});
  });

  it("ends when told to", async () => {
    const { client: kube } = await serve((_, response) => {
      response.writeHead(200);
      response.flushHeaders();
    });
    const stop = new AbortController();
    const ended = kube.watch(PODS, query, {
      signal: stop.signal,
      onEvent: () => undefined,
      onOpen: () => stop.abort(),
    });
    expect(await ended).toMatchObject({ kind: "Failed" });
  });
});

describe("createLineSplitter()", () => {
  it("refuses a line without end", () => {
    const split = createLineSplitter(10);
    expect(split(Buffer.from("abc\ndef"))).toEqual(["abc"]);
    expect(() => split(Buffer.from("0123456789"))).toThrow("must be at most 10 bytes");
  });
});
