import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import type { Kubectl } from "./kubectl.ts";
import { DEMO } from "./names.ts";

/** The demo's API key lives in an ignored file of the clone, readable by its owner; the cluster sees only its hash. */
const KEY_FILE = ".cache/demo/api-key";

const objectSchema = z.looseObject({ kind: z.string(), metadata: z.looseObject({ name: z.string() }) });
const agentSchema = objectSchema.extend({
  spec: z.looseObject({ exposure: z.looseObject({ auth: z.looseObject({}).optional() }).optional() }),
});

/** The demo's key, made on first use: 256 random bits. */
export function demoApiKey(): string {
  try {
    return readFileSync(KEY_FILE, "utf8").trim();
  } catch {
    mkdirSync(dirname(KEY_FILE), { recursive: true });
    const key = `sk-demo-${randomBytes(32).toString("hex")}`;
    writeFileSync(KEY_FILE, `${key}\n`, { mode: 0o600 });
    return key;
  }
}

/** The objects of a YAML file of docs/sample. */
export function readSample(file: string): z.infer<typeof objectSchema>[] {
  return parseAllDocuments(readFileSync(join("docs/sample", file), "utf8"))
    .map((document) => document.toJS())
    .filter((value) => value !== null)
    .map((value) => objectSchema.parse(value));
}

/** The sample AgentDeployment with the demo's key allowed to call it. */
export function sampleAgent(apiKey: string): z.infer<typeof agentSchema> {
  const agent = agentSchema.parse(readSample("agent.yaml").find((object) => object.kind === "AgentDeployment"));
  const sha256 = createHash("sha256").update(apiKey).digest("hex");
  const auth = { ...agent.spec.exposure?.auth, apiKeys: [{ name: "demo", sha256, principal: "demo@example.com" }] };
  return { ...agent, spec: { ...agent.spec, exposure: { ...agent.spec.exposure, auth } } };
}

/**
 * Applies the sample's tool server and agent into a restricted namespace and waits until the agent is Ready with the
 * installed image: right after an upgrade the agent is Ready, and about to roll.
 */
export async function applySample(
  kubectl: Kubectl,
  options: { readonly apiKey: string; readonly image: string; readonly toolsImage: string },
): Promise<void> {
  await kubectl.apply(
    JSON.stringify({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: DEMO.agentNamespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
    }),
  );
  const tools = JSON.stringify({ apiVersion: "v1", kind: "List", items: readSample("tools.yaml") });
  await kubectl.apply(tools.replaceAll("SUPERCARGO_EMULATOR_IMAGE", options.toolsImage), DEMO.agentNamespace);
  await kubectl.apply(JSON.stringify(sampleAgent(options.apiKey)), DEMO.agentNamespace);
  await waitForAgent(kubectl, options.image);
}

async function waitForAgent(kubectl: Kubectl, image: string): Promise<void> {
  const run = (...args: string[]): Promise<string> =>
    kubectl.run(["-n", DEMO.agentNamespace, ...args, "--timeout=180s"]);
  for (const component of ["gateway", "orchestrator"]) {
    const deployment = `deployment/${DEMO.agent}-${component}`;
    await run("wait", "--for=create", deployment);
    await run("wait", `--for=jsonpath={.spec.template.spec.containers[0].image}=${image}`, deployment);
    await run("rollout", "status", deployment);
  }
  await run("rollout", "status", "deployment/orders");
  await run("wait", "--for=condition=Ready", `agentdeployment/${DEMO.agent}`);
}

/** Asks the agent one question through its gateway; returns the text of the answer and the tools it called. */
export async function ask(options: {
  readonly url: string;
  readonly apiKey: string;
  readonly question: string;
}): Promise<{
  readonly text: string;
  readonly tools: readonly string[];
}> {
  const response = await fetch(`${options.url}/v1/responses`, {
    method: "POST",
    headers: { authorization: `Bearer ${options.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ model: DEMO.agent, input: options.question }),
    signal: AbortSignal.timeout(60_000),
  });
  const body: unknown = await response.json();
  if (response.status !== 200)
    throw new Error(`Cannot get an answer as the gateway said ${response.status}: ${JSON.stringify(body)}`);
  const { output } = responseSchema.parse(body);
  return {
    text: output.flatMap((item) => (item.content ?? []).map((part) => part.text ?? "")).join(""),
    tools: output.filter((item) => item.type === "mcp_call").map((item) => item.name ?? "?"),
  };
}

const responseSchema = z.object({
  output: z.array(
    z.object({
      type: z.string(),
      name: z.string().nullish(),
      content: z.array(z.object({ text: z.string().nullish() })).nullish(),
    }),
  ),
});
