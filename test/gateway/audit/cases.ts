import type { Control, GatewayConfig } from "#core/api/pod-config.ts";
import { type ErrorCode, errorEntry } from "#core/errors.ts";
import { FAULTS_MAX } from "../../../services/gateway/deployments/breaker.ts";
import { chat, deployment, type Peer } from "../../../services/gateway/test-world.ts";
import {
  AGENT_RUN,
  ALL,
  answerAndDie,
  answerNothing,
  answerPart,
  answerWith,
  type Ask,
  BEGINNING,
  bearer,
  CHAT,
  EMBEDDINGS,
  OF_AGENT,
  OF_MODELS,
  RESPONSES,
  STORED,
  streamed,
  toInit,
  WITH_BODY,
  withHeaders,
} from "./asks.ts";
import type { AuditWorld } from "./world.ts";

/** A way to a refusal: what is to be so, and who then gets it. */
export interface Case {
  /** Undone by what it gives back. */
  readonly arrange?: (world: AuditWorld) => void | (() => void);
  readonly asks: readonly Ask[] | ((world: AuditWorld) => Promise<readonly Ask[]>);
  /** An upstream's own error passes, or a stream is cut: we had allowed it. */
  readonly isAllowed?: boolean;
  /** So many of the first ones take the last places, and are answered. @default 0 */
  readonly answered?: number;
}

const told = (changed: Partial<Control>, asks: readonly Ask[] = ALL): Case => ({
  arrange: (world) => {
    world.setControl(changed);
    return () => world.setControl();
  },
  asks,
});
const configured = (more: Partial<GatewayConfig>, asks: readonly Ask[]): Case => ({
  arrange: (world) => {
    world.setConfig(more);
    return () => world.setConfig();
  },
  asks,
});
const models = (answer: Peer["answer"], asks: readonly Ask[] = OF_MODELS): Case => ({
  arrange: ({ model }) => void (model.answer = answer),
  asks,
});
const agent = (answer: Peer["answer"], asks: readonly Ask[] = OF_AGENT): Case => ({
  arrange: ({ orchestrator }) => void (orchestrator.answer = answer),
  asks,
});
const allowed = (each: Case): Case => ({ ...each, isAllowed: true });
const fault = (name: "diskIsFull" | "isDefect", asks: readonly Ask[]): Case => ({
  arrange: ({ local }) => {
    local.faults[name] = true;
    return () => void (local.faults[name] = false);
  },
  asks,
});
const errorOf = (code: ErrorCode): Peer["answer"] => answerWith(errorEntry(code).status, { error: { code } });

const entitlement = { state: "Active", planId: "pro", validUntil: "2099-01-01T00:00:00Z" } as const;
const CARD = "4111 1111 1111 1111";
const LARGE = "x".repeat(600_000);
const STREAMS = [CHAT, RESPONSES].map(streamed);
type Guardrail = NonNullable<GatewayConfig["guardrails"]>[number];
const rules: Guardrail = {
  type: "LocalRules",
  name: "local",
  phase: "Input",
  action: "Reject",
  failureMode: "Closed",
  detect: ["Cards"],
  denyWords: [],
  allowWords: [],
};
const shields: Guardrail = {
  type: "PromptShields",
  name: "shields",
  phase: "Input",
  action: "Reject",
  failureMode: "Closed",
  endpoint: "http://127.0.0.1:9",
  auth: { type: "None" },
  timeoutMs: 300,
};
const filter: Guardrail = {
  type: "AzureContentFilter",
  name: "filter",
  phase: "Output",
  action: "Reject",
  failureMode: "Closed",
};
const unjudged = { choices: [{ content_filter_results: { error: { code: "content_filter_error" } } }] };
const nowhere = deployment("primary", { modelUrl: "http://127.0.0.1:9", modelKeyFile: "/nowhere/key" });

/** Each refusal that a client can get, by each way that leads to it. Those that no plain request brings stand in the tests. */
export const CASES: Readonly<Record<ErrorCode, readonly Case[]>> = {
  invalid_api_key: [
    { asks: withHeaders(ALL, { "api-key": "sk-nobody" }) },
    { asks: withHeaders(ALL, { "api-key": "" }) },
  ],
  invalid_token: [
    { asks: withHeaders(ALL, bearer("aa.bb.cc")) },
    { asks: ({ withToken }) => withToken({ aud: "another" }) },
  ],
  insufficient_scope: [{ asks: ({ withToken }) => withToken({ roles: [] }) }],
  issuer_unavailable: [{ asks: ({ withToken }) => withToken({ iss: "http://127.0.0.1:9" }) }],
  subscription_suspended: [told({ entitlement: { ...entitlement, state: "Suspended" } })],
  subscription_revoked: [told({ entitlement: { ...entitlement, state: "Revoked" } })],
  grant_expired: [told({ entitlement: { ...entitlement, validUntil: "2020-01-01T00:00:00Z" } })],
  unknown_plan: [told({ entitlement: { ...entitlement, state: "Unknown", planId: "gold" } })],
  not_entitled: [
    told({ mode: "Revoked" }),
    told({ entitlement: { ...entitlement, features: { models: ["other"] } } }, OF_MODELS),
    told({ entitlement: { ...entitlement, features: { routes: [] } } }, BEGINNING),
  ],
  agent_paused: [told({ mode: "Paused" }, BEGINNING)],
  hard_limit_reached: [
    told({ leases: [{ dimension: "model_requests", upTo: "0" }] }, OF_MODELS),
    told({ leases: [{ dimension: "agent_requests", upTo: "0" }] }, [AGENT_RUN]),
  ],
  rate_limit_exceeded: [
    { ...told({ entitlement: { ...entitlement, features: { requestsPerMinute: 1 } } }, BEGINNING), answered: 1 },
    models(answerWith(429)),
    allowed(agent(errorOf("rate_limit_exceeded"))),
  ],
  invalid_json: [{ asks: BEGINNING.map(({ path }) => ({ path, body: '{"model":' })) }],
  invalid_value: [
    { asks: BEGINNING.map(({ path }) => ({ path, body: { model: 7 } })) },
    { asks: ['{"model":"gpt","n":1000}', '{"model":"gpt","model":"gpt"}'].map((body) => ({ ...CHAT, body })) },
  ],
  unsupported_parameter: [
    { asks: [{ ...RESPONSES, body: { model: "gpt", background: true } }] },
    told({ leases: [{ dimension: "input_tokens", upTo: "9" }] }, [{ ...CHAT, body: chat("a", { file_id: "a" }) }]),
  ],
  content_filter: [
    configured({ guardrails: [rules] }, [
      { ...CHAT, body: chat(CARD) },
      ...[RESPONSES, EMBEDDINGS].map(({ path }) => ({ path, body: { model: "gpt", input: CARD } })),
      { ...AGENT_RUN, body: { input: CARD } },
    ]),
    allowed(models(errorOf("content_filter"))),
  ],
  guardrail_unavailable: [
    configured({ guardrails: [shields] }, BEGINNING),
    {
      arrange: (world) => {
        world.setConfig({ guardrails: [filter] });
        world.model.answer = answerWith(200, unjudged);
        return () => world.setConfig();
      },
      asks: [CHAT],
    },
  ],
  model_not_found: [
    { asks: OF_MODELS.map(({ path }) => ({ path, body: { model: "gpt-9" } })) },
    { asks: ({ asOrchestrator }) => asOrchestrator([AGENT_RUN]) },
  ],
  response_not_found: [
    { asks: ({ asOrchestrator }) => asOrchestrator(STORED) },
    allowed(agent(errorOf("response_not_found"))),
  ],
  not_found: [{ asks: ["GET", "POST", "PUT", "DELETE"].map((method) => ({ method, path: "/v1/nothing" })) }],
  method_not_allowed: [
    { asks: ALL.map(({ path }) => ({ method: "PATCH", path })) },
    { asks: [{ method: "GET", path: CHAT.path }] },
  ],
  approval_forbidden: [allowed(agent(errorOf("approval_forbidden")))],
  conflict: [allowed(agent(errorOf("conflict")))],
  request_too_large: [{ asks: WITH_BODY.map(({ path }) => ({ path, body: chat(LARGE) })) }],
  unsupported_media_type: [{ asks: withHeaders(WITH_BODY, { "content-type": "text/plain" }) }],
  internal_error: [fault("isDefect", BEGINNING), allowed(agent(errorOf("internal_error")))],
  upstream_error: [
    models(answerWith(500)),
    models((_, response) => void response.destroy()),
    models(answerAndDie()),
    models(answerPart()),
    models(answerWith(301)),
    agent((_, response) => void response.destroy()),
    agent(answerWith(301)),
  ],
  upstream_refused_credential: [
    models(answerWith(401)),
    models(answerWith(403)),
    agent(answerWith(401)),
    configured({ models: [{ name: "gpt", outputTokensMax: 9, deployments: [nowhere] }] }, OF_MODELS),
  ],
  upstream_timeout: [models(answerNothing), models(answerNothing, STREAMS), agent(answerNothing)],
  upstream_unavailable: [{ arrange: breakDown, asks: OF_MODELS }],
  stream_interrupted: [
    allowed(models(answerAndDie(), STREAMS)),
    allowed(models(answerPart(), STREAMS)),
    allowed(agent(answerAndDie(), [streamed(AGENT_RUN)])),
  ],
  request_timeout: [],
  not_ready: [],
  draining: [
    {
      arrange: ({ local }) => {
        local.gateway.isClosed = true;
        return () => void (local.gateway.isClosed = false);
      },
      asks: ALL,
    },
  ],
  overloaded: [{ arrange: fillUp, asks: ALL }],
  metering_unavailable: [
    fault("diskIsFull", BEGINNING),
    fault("diskIsFull", STREAMS),
    fault("diskIsFull", [streamed(AGENT_RUN)]),
    {
      ...fault("diskIsFull", [AGENT_RUN]),
      arrange: ({ local, orchestrator }) => {
        orchestrator.answer = answerPart(LARGE);
        local.faults.diskIsFull = true;
        return () => void (local.faults.diskIsFull = false);
      },
    },
  ],
};

/** The model has failed so often that nobody is sent to it. */
function breakDown({ breakers, local }: AuditWorld): () => void {
  const { deployments, live } = local.gateway;
  const targets = [...(live.snapshot()?.models.values() ?? [])].flatMap((route) => deployments.of(route).flat());
  for (const target of targets)
    for (let fault = 0; fault < FAULTS_MAX; fault += 1)
      deployments.judge(target, deployments.admit(target), { kind: "fault" });
  breakers.areKept = true;
  return () => void (breakers.areKept = false);
}

const IN_FLIGHT_MAX = 512;

/** Others in flight, as many as may be: one that is real, and its like. */
function fillUp({ local, model }: AuditWorld): () => void {
  const { turns } = local.gateway;
  model.answer = answerNothing;
  const leave = new AbortController();
  const other = fetch(`${local.server.url}${CHAT.path}`, { ...toInit(CHAT), signal: leave.signal });
  void other.catch(() => undefined);
  for (let more = 0; more <= IN_FLIGHT_MAX; more += 1) turns.add(Object.create({ more }));
  return () => {
    turns.clear();
    leave.abort();
  };
}
