import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { DIMENSIONS, specOf, statusOf, uidOf } from "./fleet.ts";

/**
 * An API server without rules, for the reporter's bench: pages of PodUsages out of nothing, ledger and statements in
 * memory, a clock that can be moved. `node stub-api.ts PODS`; prints its port.
 */
const pods = Number(process.argv[2] ?? 1000);
const fleet = { pods, dimensions: DIMENSIONS };
const objects = new Map<string, Record<string, unknown>>();
let version = 1;
let aheadMs = 0;
let listedBytes = 0;
const nowMs = (): number => Date.now() + aheadMs;

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => answer(request, response, Buffer.concat(chunks).toString("utf8")));
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`${JSON.stringify({ port: typeof address === "object" ? address?.port : 0 })}\n`);
});

function answer(request: IncomingMessage, response: ServerResponse, body: string): void {
  const url = new URL(request.url ?? "/", "http://stub");
  response.sendDate = false;
  response.setHeader("date", new Date(nowMs()).toUTCString());
  response.setHeader("content-type", "application/json");
  if (url.pathname === "/ahead") {
    aheadMs = Number(body);
    listedBytes = 0;
    return void response.end("{}");
  }
  if (url.pathname === "/bytes") return void response.end(JSON.stringify({ listedBytes }));
  if (url.pathname === "/version") return void response.end("{}");
  if (url.pathname.endsWith("/podusages")) return void response.end(page(url));
  const [status, value] = store(request.method ?? "GET", url.pathname, body);
  response.writeHead(status).end(JSON.stringify(value));
}

function page(url: URL): string {
  const limit = Number(url.searchParams.get("limit") ?? pods);
  const from = Number(url.searchParams.get("continue") ?? 0);
  const to = Math.min(pods, from + limit);
  const items = Array.from({ length: to - from }, (_, n) => podUsage(from + n));
  const text = JSON.stringify({
    kind: "PodUsageList",
    metadata: { resourceVersion: String(version), ...(to < pods ? { continue: String(to) } : {}) },
    items,
  });
  listedBytes += text.length;
  return text;
}

function podUsage(index: number): Record<string, unknown> {
  const creationTimestamp = new Date(nowMs() - 3 * 86_400_000).toISOString();
  // As long as what the API server lists there for three writers.
  const managedFields = [{ manager: "supercargo-operator", fieldsV1: { text: "f".repeat(1200) } }];
  return {
    metadata: {
      name: uidOf(index),
      namespace: "agents",
      uid: uidOf(index),
      resourceVersion: String(1000 + index),
      creationTimestamp,
      managedFields,
    },
    spec: specOf(fleet, index, nowMs()),
    status: statusOf(fleet, index, nowMs()),
  };
}

/** Ledger and statements: create, compare-and-swap, read, list. */
function store(method: string, path: string, body: string): [number, unknown] {
  const sent: unknown = body === "" ? undefined : JSON.parse(body);
  const object = typeof sent === "object" && sent !== null ? { ...sent } : {};
  const metadata = { ...Object(Reflect.get(object, "metadata")) };
  if (method === "POST") return write(`${path}/${metadata.name}`, object, metadata);
  const stored = objects.get(path);
  if (method === "GET" && /\/usage(ledgers|statements)$/.test(path))
    return [
      200,
      {
        metadata: { resourceVersion: String(version) },
        items: [...objects].filter(([key]) => key.startsWith(path)).map(([, value]) => value),
      },
    ];
  if (!stored) return [404, { kind: "Status", reason: "NotFound", message: "not found", code: 404 }];
  if (method !== "PUT") return [200, stored];
  const current = Object(stored["metadata"]).resourceVersion;
  return current === metadata.resourceVersion
    ? write(path, object, metadata)
    : [409, { kind: "Status", reason: "Conflict", message: "modified", code: 409 }];
}

function write(key: string, object: object, metadata: object): [number, unknown] {
  version += 1;
  const next = { ...object, metadata: { ...metadata, resourceVersion: String(version), managedFields: undefined } };
  objects.set(key, next);
  return [200, next];
}
