import { type Emulator, startEmulator } from "../../services/emulator/app.ts";
import { API_KEY, deployment, type GatewayWorld, startGatewayWorld } from "../../services/gateway/test-world.ts";
import type { GatewayConfig } from "#core/api/pod-config.ts";
import { type ScriptedModel, startScriptedModel } from "./upstream.ts";

/** What stands behind every target: two models that do what a probe says, and the emulator's. */
export interface Models {
  readonly first: ScriptedModel;
  readonly second: ScriptedModel;
  readonly emulator: Emulator;
  stop(): Promise<void>;
}

export async function startModels(): Promise<Models> {
  const [first, second] = await Promise.all([startScriptedModel(), startScriptedModel()]);
  const emulator = await startEmulator({ model: { auth: "None", apiKeys: [], deployments: [] } });
  return {
    first,
    second,
    emulator,
    async stop() {
      await Promise.all([first.stop(), second.stop(), emulator.stop()]);
    },
  };
}

/** `one` is the first model alone, `two` the first and then the second, `emulated` the emulator's. */
export type ModelName = "one" | "two" | "emulated";

/** A gateway as its clients see it: ours, or another's. */
export interface ProbeTarget {
  readonly name: string;
  readonly url: string;
  /** What a client must send so that its request reaches this model. */
  headers(model: ModelName): Record<string, string>;
  isAlive(): boolean;
  /** SIGTERM; the exit code, or nothing where a signal ended it or it did not end. */
  terminate(): Promise<number | null>;
  /** What ours alone has: counted usage, limits, audit. */
  readonly own?: GatewayWorld;
  stop(): Promise<void>;
}

export interface TargetOptions {
  readonly models: Models;
  /** Whether answers are refused that Azure's filter has not judged. */
  readonly isFilterClosed?: boolean;
  readonly oidc?: GatewayConfig["oidc"];
  /** Beside the one for Azure's filter. */
  readonly guardrails?: GatewayConfig["guardrails"];
}

/** Starts a gateway afresh: no probe meets what another left behind. */
export type StartTarget = (options: TargetOptions) => Promise<ProbeTarget>;

/** Our gateway as a process of its own, with a key, an alias for each model, and an output guardrail for Azure's filter. */
export const startOurs: StartTarget = async ({ models, isFilterClosed = false, oidc, guardrails = [] }) => {
  const alias = (name: ModelName, urls: readonly string[]): GatewayConfig["models"][number] => ({
    name,
    outputTokensMax: 4096,
    deployments: urls.map((modelUrl, index) => ({
      ...deployment(`${name}-${index}`, { modelUrl }),
      priority: index,
    })),
  });
  const filter = { type: "AzureContentFilter", name: "filter", phase: "Output", action: "Reject" } as const;
  const world = await startGatewayWorld({
    modelUrl: models.first.url,
    models: [
      alias("one", [models.first.url]),
      alias("two", [models.first.url, models.second.url]),
      alias("emulated", [models.emulator.url]),
    ],
    guardrails: () => [{ ...filter, failureMode: isFilterClosed ? "Closed" : "Open" }, ...guardrails],
    ...(oidc === undefined ? {} : { oidc }),
  });
  return {
    name: "ours",
    url: world.gateway.url,
    headers: () => ({ authorization: `Bearer ${API_KEY}` }),
    isAlive: () => world.gateway.child.exitCode === null && world.gateway.child.signalCode === null,
    terminate: () => world.gateway.signal("SIGTERM"),
    own: world,
    stop: () => world.stop(),
  };
};

/** POST of a body, as text or to be written as JSON, to a path of a target. */
export function post(
  target: ProbeTarget,
  model: ModelName,
  call: {
    readonly path?: string;
    readonly body: unknown;
    readonly signal?: AbortSignal;
    readonly headers?: Record<string, string>;
  },
): Promise<Response> {
  return fetch(`${target.url}${call.path ?? "/v1/chat/completions"}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...target.headers(model), ...call.headers },
    body: typeof call.body === "string" ? call.body : JSON.stringify(call.body),
    ...(call.signal === undefined ? {} : { signal: call.signal }),
  });
}

/** A chat request to a model. */
export function chatTo(model: ModelName, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { model, messages: [{ role: "user", content: "Hello" }], max_completion_tokens: 512, ...more };
}

/** All bytes of an answer, and whether it broke off. */
export async function readAll(answer: Response): Promise<{ readonly text: string; readonly isBroken: boolean }> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of answer.body ?? []) text += decoder.decode(chunk, { stream: true });
    return { text, isBroken: false };
  } catch {
    return { text, isBroken: true };
  }
}
