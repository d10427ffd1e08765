import { Pool } from "undici";
import type { Control } from "../../../services/core/api/pod-config.ts";
import {
  AUDIENCE,
  createTestKey,
  entraIssuer,
  startTestIssuer,
  type TestIssuer,
  type TestKey,
} from "../../../services/gateway/identity/test-issuer.ts";
import {
  API_KEY,
  deployment,
  type GatewayWorld,
  type Peer,
  startGatewayWorld,
  startPeer,
} from "../../../services/gateway/test-world.ts";
import { limit, untilQuiet } from "../traffic/world.ts";
import type { Answer } from "./raw.ts";

/** A gateway with everything on that looks at what a stranger sends, and peers that answer what a property says. */
export interface FuzzWorld {
  readonly gateway: GatewayWorld;
  readonly port: number;
  /** Behind every alias. Each property sets what it answers; it remembers what it was asked. */
  readonly model: Peer;
  readonly issuer: TestIssuer;
  readonly keys: { readonly rsa: TestKey; readonly ec: TestKey };
  /** One of many aliases with a deployment each, so that a failure of one says nothing of the next. */
  nextAlias(): string;
  send(request: FuzzRequest): Promise<Answer>;
  stop(): Promise<void>;
}

export interface FuzzRequest {
  /** @default POST where there is a body */
  readonly method?: "GET" | "POST";
  readonly path: string;
  readonly body?: Buffer | string;
  /** With our key, unless they hold a credential. */
  readonly headers?: Readonly<Record<string, string>>;
}

export const UPSTREAM_MODEL = "gpt-5-mini";
export const OUTPUT_TOKENS_MAX = 4096;
/** Far away for every request but those that ask for as much. */
export const CEILING = 1e14;
const ALIASES = 64;
export { AUDIENCE };

export async function startFuzzWorld(): Promise<FuzzWorld> {
  const keys = { rsa: await createTestKey("rsa-1", "RS256"), ec: await createTestKey("ec-1") };
  const issuer = await startTestIssuer([keys.rsa, keys.ec]);
  const model = await startPeer((_, response) => response.end());
  const names = ["gpt", ...Array.from({ length: ALIASES }, (_, index) => `odd-${index}`)];
  const gateway = await startGatewayWorld({
    modelUrl: model.url,
    models: names.map((name) => ({
      name,
      outputTokensMax: OUTPUT_TOKENS_MAX,
      deployments: [deployment("one", { modelUrl: model.url })],
    })),
    oidc: [entraIssuer(issuer.url)],
    rateLimits: [{ name: "far", per: "Key", mode: "Enforce", requestsPerMinute: 1e9, tokensPerMinute: 1e9 }],
    guardrails: () => [
      {
        name: "words",
        type: "LocalRules",
        phase: "Input",
        action: "Alert",
        failureMode: "Closed",
        detect: ["Secrets", "Cards", "Emails"],
        denyWords: ["forbidden"],
        allowWords: [],
      },
    ],
  });
  const dimensions = ["input_tokens", "cached_input_tokens", "output_tokens", "model_requests", "agent_requests"];
  const leases: Control["leases"] = dimensions.map((dimension) => ({ dimension, upTo: String(CEILING) }));
  await limit(gateway, leases);
  const pool = new Pool(gateway.gateway.url, { connections: 4, pipelining: 1 });
  let alias = 0;
  return {
    gateway,
    port: Number(new URL(gateway.gateway.url).port),
    model,
    issuer,
    keys,
    nextAlias: () => names[1 + (alias++ % ALIASES)] ?? "gpt",
    send: (request) => send(pool, request),
    async stop() {
      await pool.destroy();
      await gateway.stop();
      await Promise.all([model.stop(), issuer.stop()]);
    },
  };
}

function send(pool: Pool, request: FuzzRequest): Promise<Answer> {
  const { path, body, headers = {} } = request;
  const hasCredential = "authorization" in headers || "api-key" in headers;
  const own = { "content-type": "application/json", ...(hasCredential ? {} : { "api-key": API_KEY }), ...headers };
  const chunks: Buffer[] = [];
  let head: Pick<Answer, "status" | "headers"> = { status: 0, headers: {} };
  return new Promise((resolve) => {
    const done = (end: Answer["end"]): void => resolve({ ...head, body: Buffer.concat(chunks), end });
    const method = request.method ?? (body === undefined ? "GET" : "POST");
    pool.dispatch(
      { method, path, headers: own, body: body ?? null },
      {
        onRequestStart: () => {},
        onResponseStart: (_, status, given) => {
          const flat = Object.entries(given).map(([name, value]) => [name, String(value)] as const);
          head = { status, headers: Object.fromEntries(flat) };
        },
        onResponseData: (_, chunk) => void chunks.push(chunk),
        onResponseEnd: () => done("whole"),
        onResponseError: () => done(head.status === 0 ? "none" : "broke"),
      },
    );
  });
}

const LABELS_MAX = 2_000;

/** What must be true after all of it. Throws with the first that is not. */
export async function checkAftermath(world: FuzzWorld): Promise<void> {
  const { gateway } = world.gateway;
  if (gateway.child.exitCode !== null || gateway.child.signalCode !== null)
    throw new Error(`The process ended with ${gateway.child.exitCode ?? gateway.child.signalCode}`);
  await untilQuiet(world.gateway);
  const failed = gateway.lines.filter((line) => line["level"] === "error" && line["msg"] === "Failed to answer");
  const internal = failed.filter((line) => JSON.stringify(line["err"] ?? {}).includes("internal"));
  if (internal.length > 0) throw new Error(`Internal errors were logged: ${JSON.stringify(internal[0])}`);
  const series = (await gateway.metrics()).split("\n").filter((line) => line.startsWith("supercargo_gateway_requests"));
  if (series.length > LABELS_MAX)
    throw new Error(`${series.length} series of requests, at most ${LABELS_MAX} are right`);
}
