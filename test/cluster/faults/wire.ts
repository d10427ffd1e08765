import { readFileSync } from "node:fs";
import {
  Agent,
  createServer as createHttpServer,
  type IncomingMessage,
  request as httpRequest,
  type RequestOptions,
  type ServerResponse,
} from "node:http";
import { Agent as TlsAgent, createServer as createTlsServer, request as tlsRequest } from "node:https";
import type { Server } from "node:net";
import { join } from "node:path";
import { createCertificate } from "../local/certificates.ts";
import { FOLDERS, NODE } from "../local/layout.ts";
import { createSnare, type Catch, type CatchRule, type Door, type Snare } from "./snare.ts";

/** Ports on the machine's end of the wire to the node: pods reach it, and the reporter's policy allows both. */
export const WIRE = { address: NODE.machineAddress, apiPort: 6443, marketplacePort: 8090 } as const;

/**
 * Stands between the reporter and its two peers, the API server and the Marketplace: passes every byte on, and catches
 * single requests before they arrive or after they were done. The reporter cannot tell: the certificate is the cluster's.
 */
export interface Wire {
  /** Catches the next request that fits. */
  catchNext(rule: CatchRule): Catch;
  /** The API server's Date header as the reporter sees it, from now on. 0: the true one. */
  shiftDate(seconds: number): void;
  stop(): Promise<void>;
}

/** Starts both doors. `marketplace` is where the emulator's metering API listens: http://ADDRESS:PORT. */
export async function startWire(marketplace: string): Promise<Wire> {
  const snare = createSnare();
  const shift = { seconds: 0 };
  const { certificates } = FOLDERS;
  await createCertificate(certificates, {
    name: "wire",
    commonName: "wire",
    alternativeNames: [`IP:${WIRE.address}`],
  });
  const read = (name: string): Buffer => readFileSync(join(certificates, name));
  const api = createTlsServer(
    { cert: read("wire.crt"), key: read("wire.key") },
    relay({ door: "ApiServer", snare, shift, open: openApi(read("ca.crt")) }),
  );
  const shop = createHttpServer(relay({ door: "Marketplace", snare, shift, open: openShop(marketplace) }));
  await Promise.all([listen(api, WIRE.apiPort), listen(shop, WIRE.marketplacePort)]);
  return {
    catchNext: (rule) => snare.catchNext(rule),
    shiftDate(seconds) {
      shift.seconds = seconds;
    },
    async stop() {
      api.closeAllConnections();
      shop.closeAllConnections();
      await Promise.all([api, shop].map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

type Open = (options: RequestOptions, onAnswer: (answer: IncomingMessage) => void) => ReturnType<typeof httpRequest>;

interface Relay {
  readonly door: Door;
  readonly snare: Snare;
  readonly shift: { seconds: number };
  readonly open: Open;
}

function openApi(ca: Buffer): Open {
  const agent = new TlsAgent({ keepAlive: true });
  return (options, onAnswer) => tlsRequest({ ...options, host: NODE.address, port: NODE.apiPort, ca, agent }, onAnswer);
}

function openShop(url: string): Open {
  const agent = new Agent({ keepAlive: true });
  const { hostname, port } = new URL(url);
  return (options, onAnswer) => httpRequest({ ...options, host: hostname, port, agent }, onAnswer);
}

function relay(on: Relay): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    void passOn(on, request, response).catch(() => response.destroy());
  };
}

async function passOn(on: Relay, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await readAll(request);
  const { method = "", url: path = "" } = request;
  const passage = { door: on.door, method, path, body: body.toString("utf8") };
  const send = (): Promise<IncomingMessage> => forward(on, request, body);
  const hands = { send, cut: (): void => void response.destroy() };
  const caught = on.snare.find(passage);
  if (caught?.when === "Before" && (await caught.hold(passage, hands)) === "Cut") return;
  const answer = await send();
  const { statusCode = 502 } = answer;
  if (caught?.when === "After") {
    // An answer that is held must have come whole: only then is the request done.
    const whole = await readAll(answer);
    if ((await caught.hold(passage, hands)) === "Pass")
      response.writeHead(statusCode, headersOf(on, answer)).end(whole);
    return;
  }
  response.writeHead(statusCode, headersOf(on, answer));
  response.on("close", () => answer.destroy());
  answer.pipe(response);
}

function forward(on: Relay, request: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const upstream = on.open({ method: request.method, path: request.url, headers: request.headers }, resolve);
    upstream.on("error", reject);
    upstream.end(body);
  });
}

function headersOf(on: Relay, answer: IncomingMessage): IncomingMessage["headers"] {
  const { date } = answer.headers;
  if (on.door !== "ApiServer" || date === undefined || on.shift.seconds === 0) return answer.headers;
  return { ...answer.headers, date: new Date(Date.parse(date) + on.shift.seconds * 1000).toUTCString() };
}

async function readAll(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, WIRE.address, () => resolve());
  });
}
