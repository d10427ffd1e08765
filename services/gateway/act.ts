import type { Control } from "#core/api/pod-config.ts";
import { Refusal } from "#core/errors.ts";
import { checkPlanModel, checkPlanRoute } from "#core/grant.ts";
import { callAgent } from "./upstream/agent-face.ts";
import { checkEntitlement, type EntitlementRequest } from "./entitle.ts";
import type { Gateway } from "./gateway.ts";
import { guardInput } from "./guardrails/input.ts";
import { maskInput } from "./guardrails/mask/mask-input.ts";
import { likelyTokens, withinLimits, worstCaseOf } from "./limits/limit.ts";
import { listModels } from "./models.ts";
import { checkModelRequest, type ModelOperation, parseRequest } from "./wire/openai.ts";
import { callModel } from "./upstream/route.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Turn } from "./turn.ts";

/** The last step: what the route is for. Everything before it has passed. */
export function act(gateway: Gateway, turn: Turn): Promise<void> | void {
  const { route } = turn;
  if (route === undefined) throw new Error("The route must have been found before");
  switch (route.name) {
    case "models":
      return listModels(gateway, turn);
    case "stored_response":
      return callStoredResponse(gateway, turn);
    case "chat":
    case "embeddings":
    case "responses":
      return callMasked(gateway, turn, route.name);
    case "unknown":
      throw new Refusal("not_found", "Cannot find the route");
  }
}

/** Stored responses live in the orchestrator. */
async function callStoredResponse(gateway: Gateway, turn: Turn): Promise<void> {
  const { request, route, body } = turn;
  refuseSelfCall(turn, "response_not_found", "Cannot find the response");
  const method = request.method === "DELETE" ? "DELETE" : request.method === "POST" ? "POST" : "GET";
  turn.model = turn.snapshot?.config.agent.name ?? "other";
  await callAgent(gateway, turn, {
    method,
    target: route?.target ?? "",
    body: method === "POST" ? (body ?? null) : null,
    isRun: false,
  });
}

/** What a guardrail masks is not in the body when it is read. */
function callMasked(gateway: Gateway, turn: Turn, operation: ModelOperation): Promise<void> {
  const masking = maskInput(gateway, turn, operation);
  return masking === undefined
    ? callByModel(gateway, turn, operation)
    : masking.then(() => callByModel(gateway, turn, operation));
}

/** A model alias goes to a model; the agent's name, or no name, to the agent (on the Responses route alone). */
function callByModel(gateway: Gateway, turn: Turn, operation: ModelOperation): Promise<void> {
  const snapshot = turn.snapshot;
  if (snapshot === undefined || turn.body === undefined) throw new Error("A body must have been read before");
  const request = parseRequest(turn.body);
  const agent = snapshot.config.agent.name;
  if (operation === "responses" && (request.model === undefined || request.model === agent)) {
    refuseSelfCall(turn, "model_not_found", "Cannot call the agent from its own run");
    checkPlanRoute(entitle(gateway, "agent_run"), "agent");
    turn.model = agent;
    const call = { method: "POST", target: "/v1/responses", body: turn.body, isRun: true } as const;
    const work = () => callAgent(gateway, turn, call);
    return gateway.rates.within(gateway, turn, {
      need: { requests: 1, tokens: 0 },
      work: () => withinLimits(gateway, { agent_requests: 1n }, () => guarded(gateway, turn, { operation, work })),
    });
  }
  const route = request.model === undefined ? undefined : snapshot.models.get(request.model);
  if (route === undefined) throw unknownModel(snapshot, operation, request.model);
  turn.model = route.alias;
  entitleModelCall(gateway, turn, { operation, model: route.alias });
  checkModelRequest(operation, request);
  const call = { operation, request, outputTokensMax: route.outputTokensMax };
  const need = worstCaseOf(gateway, call);
  const work = () => callModel(gateway, turn, { snapshot, operation, route, request });
  // The requests of a run of the agent are no client's; its tokens are.
  const requests = turn.caller?.kind === "orchestrator" ? 0 : 1;
  return gateway.rates.within(gateway, turn, {
    need: { requests, tokens: likelyTokens(call) },
    work: () =>
      withinLimits(gateway, need, () => {
        noteReserved(gateway, turn, need);
        return guarded(gateway, turn, { operation, work });
      }),
  });
}

/** For the audit record: what is held, where there is anything to hold it under. */
function noteReserved({ live }: Gateway, { outcome }: Turn, need: Record<string, bigint>): void {
  if (live.control()?.leases.length === 0) return;
  outcome.reservedInputTokens = Number(need["input_tokens"]);
  outcome.reservedOutputTokens = Number(need["output_tokens"]);
}

/** The work, once the guardrails of the phase Input let it pass; at once where there are none. */
function guarded(
  gateway: Gateway,
  turn: Turn,
  call: { readonly operation: ModelOperation; readonly work: () => Promise<void> },
): Promise<void> {
  const asking = guardInput(gateway, turn, call.operation);
  return asking === undefined ? call.work() : asking.then(call.work);
}

function entitle(gateway: Gateway, kind: EntitlementRequest["kind"]): Control["entitlement"] {
  return checkEntitlement(gateway.live.control(), { kind, nowMs: gateway.clock.now() }).entitlement;
}

/** Routes of the plan are for clients: an agent that may run must be able to think. */
function entitleModelCall(
  gateway: Gateway,
  turn: Turn,
  call: { readonly operation: ModelOperation; readonly model: string },
): void {
  const isOwn = turn.caller?.kind === "orchestrator";
  const entitlement = entitle(gateway, isOwn ? "run_model_call" : "client_model_call");
  if (!isOwn) checkPlanRoute(entitlement, call.operation);
  checkPlanModel(entitlement, call.model);
}

/** The orchestrator may call models, never itself through the gateway: a run could then start runs without end. */
function refuseSelfCall(turn: Turn, code: "model_not_found" | "response_not_found", message: string): void {
  if (turn.caller?.kind === "orchestrator") throw new Refusal(code, message);
}

function unknownModel(snapshot: Snapshot, operation: ModelOperation, model: string | undefined): Refusal {
  const names = [...(operation === "responses" ? [snapshot.config.agent.name] : []), ...snapshot.models.keys()];
  const allowed = `model must be ${names.length === 1 ? "" : "one of "}${names.join(", ")}`;
  const current = model === undefined ? "" : `: current value is ${JSON.stringify(shorten(model))}`;
  return new Refusal(
    model === undefined ? "invalid_value" : "model_not_found",
    `Cannot find the model as ${allowed}${current}`,
    { param: "model" },
  );
}

function shorten(text: string): string {
  return text.length > 64 ? `${text.slice(0, 64)}…` : text;
}
