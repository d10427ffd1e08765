import { DEMO } from "../../scripts/demo/names.ts";
import { AZURE_PORTS } from "../../scripts/demo/azure.ts";
import { type Collector, startCollector } from "../fakes/collector.ts";
import { NODE } from "./local/layout.ts";
import { patchAgent, type World } from "./world.ts";

const SAFETY_SECRET = "content-safety";

/**
 * Turns on all that the gateway can do for the demo's agent: Prompt Shields and Analyze text by the emulator, rules of its
 * own, Azure's own filter, rates, traces to a collector on this machine. Returns the collector once every pod runs so.
 */
export async function turnEverythingOn(world: World): Promise<Collector> {
  const collector = await startCollector(NODE.machineAddress);
  await world.kubectl.apply(
    JSON.stringify({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: SAFETY_SECRET },
      stringData: { key: "any-key-will-do" },
    }),
    DEMO.agentNamespace,
  );
  await patchAgent(world.kubectl, {
    spec: { guardrails: guardrails(), exposure: { rateLimits: RATES }, telemetry: telemetry(collector) },
  });
  for (const component of ["gateway", "orchestrator"]) await waitForEndpoint(world, { component, url: collector.url });
  return collector;
}

const RATES = [
  { name: "key", per: "Key", requestsPerMinute: 600 },
  { name: "caller", per: "Caller", tokensPerMinute: 1_000_000 },
  { name: "watched", per: "Agent", requestsPerMinute: 1, mode: "Shadow" },
];

function guardrails(): unknown[] {
  const contentSafety = {
    endpoint: `http://emulator.${DEMO.azureNamespace}.svc.cluster.local:${AZURE_PORTS.http}`,
    auth: { type: "SecretRef", secretRef: { name: SAFETY_SECRET, key: "key" } },
  };
  return [
    { name: "secrets", type: "LocalRules", phase: "Input", localRules: { detect: ["Secrets", "Cards"] } },
    { name: "shields", type: "PromptShields", phase: "Input", contentSafety },
    { name: "harm", type: "AnalyzeText", phase: "Input", contentSafety },
    { name: "azure-filter", type: "AzureContentFilter", phase: "Output" },
  ];
}

function telemetry(collector: Collector): unknown {
  const port = Number(new URL(collector.url).port);
  return {
    endpoint: collector.url,
    sampledPercent: 100,
    egress: { cidrs: [`${NODE.machineAddress}/32`], ports: [port] },
  };
}

/** A pod that has the endpoint has the rest of the configuration as well: both came with one change of the spec. */
async function waitForEndpoint(
  world: World,
  wanted: { readonly component: string; readonly url: string },
): Promise<void> {
  const deployment = `deployment/${DEMO.agent}-${wanted.component}`;
  const env = '{.spec.template.spec.containers[0].env[?(@.name=="SUPERCARGO_OTLP_ENDPOINT")].value}';
  const run = (...args: string[]): Promise<string> =>
    world.kubectl.run(["-n", DEMO.agentNamespace, ...args, "--timeout=180s"]);
  await run("wait", `--for=jsonpath=${env}=${wanted.url}`, deployment);
  await run("rollout", "status", deployment);
  await run("wait", "--for=condition=Ready", `agd/${DEMO.agent}`);
}
