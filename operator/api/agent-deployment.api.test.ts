import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createKubectl, type Kubectl } from "../../scripts/demo/kubectl.ts";
import { ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import { type ApiHarness, startApi } from "../../test/api/harness.ts";
import { sampleAgent } from "../../test/api/sample.ts";

let api: ApiHarness;
let kubectl: Kubectl;
let namespace: string;

beforeAll(async () => {
  api = await startApi();
  kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: api.kubeconfig });
  namespace = await api.newNamespace();
});
afterAll(() => api?.stop());

type Fields = Readonly<Record<string, unknown>>;

const deployment = (fields: Fields): Fields => ({ models: [{ name: "default", deployments: [fields] }] });
const openAI = { name: "main", type: "OpenAI", openAI: { baseUrl: "https://api.example.com/v1", model: "gpt" } };
const none = { auth: { type: "None" } };
const tool = (fields: Fields): Fields => ({ tools: [{ name: "orders", ...fields }] });
const functions = [{ name: "get_order", lane: "Automatic" }];
const mcp = { url: "https://orders.example.com/mcp" };
const declares = (...usage: readonly object[]): Fields => tool({ mcp, functions: [{ name: "read", usage }] });
const oidc = (fields: Fields): Fields => ({
  exposure: { auth: { oidc: [{ name: "entra", issuer: "https://id.example.com", audience: "agents", ...fields }] } },
});
const entra = { tenantId: "72f988bf-86f1-41af-91ab-2d7cd011db47" };
const GUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
const USAGE = "spec.tools[0].functions[0].usage";
const OWN = "dimension must be a name of the agent's own, not one that Supercargo counts:";
const COUNTED =
  "input_tokens, cached_input_tokens, output_tokens, model_requests, agent_requests, workflow_completed, tool_action, pod_milliseconds, billing_period";

/** With a value of the wrong form the API server says that it has not run the rules. */
const UNCHECKED =
  "* <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
const invalid = (message: string): readonly string[] => [`The AgentDeployment "broken" is invalid: ${message}`];
const invalidForm = (message: string): readonly string[] => [
  'The AgentDeployment "broken" is invalid: ',
  `* ${message}`,
  UNCHECKED,
];
const unreadable = (message: string): readonly string[] => [
  `Error from server: failed to create typed patch object (NAMESPACE/broken; supercargo.dev/v1alpha1, Kind=AgentDeployment): ${message}`,
];

/** What a person writes wrong, and what kubectl answers. */
const cases: readonly (readonly [string, Fields, readonly string[]])[] = [
  [
    "a field that does not exist",
    { intructions: "You answer." },
    unreadable(".spec.intructions: field not declared in schema"),
  ],
  [
    "text where a number belongs",
    { gateway: { replicas: "two" } },
    unreadable(".spec.gateway.replicas: expected numeric (int or float), got string"),
  ],
  [
    "one function twice",
    tool({ mcp, functions: [...functions, ...functions] }),
    unreadable('.spec.tools[name="orders"].functions: duplicate entries for key [name="get_order"]'),
  ],
  ["no models at all", { models: undefined }, invalidForm("spec.models: Required value")],
  [
    "an empty list of models",
    { models: [] },
    invalid("spec.models: Invalid value: 0: spec.models in body should have at least 1 items"),
  ],
  [
    "an unknown mode",
    { mode: "Stopped" },
    invalidForm(
      'spec.mode: Unsupported value: "Stopped": supported values: "Running", "Constrained", "Paused", "Revoked"',
    ),
  ],
  [
    "an unknown lane",
    tool({ mcp, functions: [{ name: "get_order", lane: "Auto" }] }),
    invalidForm(
      'spec.tools[0].functions[0].lane: Unsupported value: "Auto": supported values: "Automatic", "Approval", "Never"',
    ),
  ],
  [
    "instructions that are too long",
    { instructions: "x".repeat(32_769) },
    invalidForm("spec.instructions: Too long: may not be more than 32768 bytes"),
  ],
  [
    "the block of another type",
    deployment({ ...openAI, ...none, azureOpenAI: { endpoint: "https://a.example.com", deployment: "x" } }),
    invalid("spec.models[0].deployments[0]: Invalid value: azureOpenAI must be set exactly when type is AzureOpenAI"),
  ],
  [
    "no block for the type",
    deployment({ name: "main", type: "AzureOpenAI", ...none }),
    invalid("spec.models[0].deployments[0]: Invalid value: azureOpenAI must be set exactly when type is AzureOpenAI"),
  ],
  [
    "SecretRef without a Secret",
    deployment({ ...openAI, auth: { type: "SecretRef" } }),
    invalid("spec.models[0].deployments[0].auth: Invalid value: secretRef must be set exactly when type is SecretRef"),
  ],
  [
    "a URL of another scheme",
    deployment({ ...openAI, ...none, openAI: { baseUrl: "ftp://x", model: "gpt" } }),
    invalid(
      String.raw`spec.models[0].deployments[0].openAI.baseUrl: Invalid value: "ftp://x": spec.models[0].deployments[0].openAI.baseUrl in body should match '^https?:\/\/[^\s]+$'`,
    ),
  ],
  [
    "a tool without functions",
    tool({ mcp, functions: [] }),
    invalid("spec.tools[0].functions: Invalid value: 0: spec.tools[0].functions in body should have at least 1 items"),
  ],
  [
    "a declared dimension that the platform counts",
    declares({ dimension: "tool_action", maxPerCall: "10" }),
    invalid(`${USAGE}[0].dimension: Invalid value: "tool_action": ${OWN} ${COUNTED}`),
  ],
  [
    "a declared dimension that the reporter counts",
    declares({ dimension: "billing_period", maxPerCall: "10" }),
    invalid(`${USAGE}[0].dimension: Invalid value: "billing_period": ${OWN} ${COUNTED}`),
  ],
  [
    "a dimension that is no name",
    declares({ dimension: "Documents analyzed", maxPerCall: "10" }),
    invalid(
      `${USAGE}[0].dimension: Invalid value: "Documents analyzed": ${USAGE}[0].dimension in body should match '^[a-z][a-z0-9_]*$'`,
    ),
  ],
  [
    "a declared dimension without a bound",
    declares({ dimension: "documents_analyzed" }),
    invalidForm(`${USAGE}[0].maxPerCall: Required value`),
  ],
  [
    "a bound of nothing",
    declares({ dimension: "documents_analyzed", maxPerCall: "0" }),
    invalid(
      `${USAGE}[0].maxPerCall: Invalid value: "0": ${USAGE}[0].maxPerCall in body should match '^[1-9][0-9]{0,11}$'`,
    ),
  ],
  [
    "a bound of a fraction",
    declares({ dimension: "documents_analyzed", maxPerCall: "1.5" }),
    invalid(
      `${USAGE}[0].maxPerCall: Invalid value: "1.5": ${USAGE}[0].maxPerCall in body should match '^[1-9][0-9]{0,11}$'`,
    ),
  ],
  [
    "a bound as a number",
    declares({ dimension: "documents_analyzed", maxPerCall: 1000 }),
    unreadable(
      '.spec.tools[name="orders"].functions[name="read"].usage[dimension="documents_analyzed"].maxPerCall: expected string, got &value.valueUnstructured{Value:1000}',
    ),
  ],
  [
    "one dimension twice in a function",
    declares({ dimension: "pages", maxPerCall: "1" }, { dimension: "pages", maxPerCall: "2" }),
    unreadable(
      '.spec.tools[name="orders"].functions[name="read"].usage: duplicate entries for key [dimension="pages"]',
    ),
  ],
  [
    "instructions from two places",
    { instructions: "a", instructionsFrom: { configMapKeyRef: { name: "a", key: "b" } } },
    invalid("spec.instructionsFrom: Invalid value: instructions and instructionsFrom exclude each other"),
  ],
  [
    "a model that is not listed",
    { orchestrator: { model: "other" } },
    invalid("spec.orchestrator.model: Invalid value: orchestrator.model must name one of models"),
  ],
  [
    "callers of Entra ID without an application",
    oidc({ entra, roles: ["Agent.Call"] }),
    invalid(
      "spec.exposure.auth.oidc[0].actors: Required value: actors must name the applications that may call when entra is set",
    ),
  ],
  [
    "callers of Entra ID without a right",
    oidc({ entra, actors: ["6731de76-14a6-49ae-97bc-6eba6914391e"] }),
    invalid("spec.exposure.auth.oidc[0].roles: Required value: roles or scopes must be set when entra is set"),
  ],
  [
    "a tenant that is none",
    oidc({ entra: { tenantId: "common" }, actors: ["a"], roles: ["b"] }),
    invalid(
      `spec.exposure.auth.oidc[0].entra.tenantId: Invalid value: "common": spec.exposure.auth.oidc[0].entra.tenantId in body should match '${GUID}'`,
    ),
  ],
  [
    "an issuer with a query",
    oidc({ issuer: "https://id.example.com?tenant=a" }),
    invalid(
      `spec.exposure.auth.oidc[0].issuer: Invalid value: "https://id.example.com?tenant=a": spec.exposure.auth.oidc[0].issuer in body should match '^https?:\\/\\/[^\\s?#]+$'`,
    ),
  ],
  [
    "two writers of one SQLite file",
    { orchestrator: { replicas: 2 } },
    invalid(
      "spec.orchestrator.replicas: Invalid value: orchestrator.replicas must be 0 or 1 unless storage.type is PostgreSQL",
    ),
  ],
  [
    "replicas beside autoscaling",
    { gateway: { replicas: 2, autoscaling: { minReplicas: 1, maxReplicas: 2 } } },
    invalid("spec.gateway: Invalid value: replicas and autoscaling exclude each other"),
  ],
  [
    "the same for the orchestrator",
    { orchestrator: { replicas: 1, autoscaling: { minReplicas: 1, maxReplicas: 2 } } },
    invalid("spec.orchestrator: Invalid value: replicas and autoscaling exclude each other"),
  ],
  [
    "an autoscaler without room",
    { gateway: { autoscaling: { minReplicas: 3, maxReplicas: 2 } } },
    invalid("spec.gateway.autoscaling.maxReplicas: Invalid value: maxReplicas must be at least minReplicas"),
  ],
  [
    "an autoscaler that could measure nothing",
    {
      gateway: {
        autoscaling: { minReplicas: 1, maxReplicas: 2 },
        resources: { requests: { memory: "128Mi" } },
      },
    },
    invalid(
      "spec.gateway.resources: Invalid value: resources.requests.cpu must be set where autoscaling is: it is what use is measured by",
    ),
  ],
  [
    "a variable that is ours",
    { gateway: { extraEnv: [{ name: "NODE_OPTIONS", value: "x" }] } },
    invalid(
      "spec.gateway.extraEnv[0].name: Forbidden: extraEnv may not set SUPERCARGO_*, NODE_*, AZURE_* or FOUNDRY_*",
    ),
  ],
  [
    "a key instead of its hash",
    { exposure: { auth: { apiKeys: [{ name: "a", sha256: "sk-plain", principal: "x" }] } } },
    invalid(
      "spec.exposure.auth.apiKeys[0].sha256: Invalid value: \"sk-plain\": spec.exposure.auth.apiKeys[0].sha256 in body should match '^[0-9a-f]{64}$'",
    ),
  ],
  [
    "a budget of nothing",
    { budgets: { turns: { max: 0 } } },
    invalid(
      "spec.budgets.turns.max: Invalid value: 0: spec.budgets.turns.max in body should be greater than or equal to 1",
    ),
  ],
  [
    "PostgreSQL without its Secret",
    { orchestrator: { storage: { type: "PostgreSQL" } } },
    invalid("spec.orchestrator.storage: Invalid value: postgreSQL must be set exactly when type is PostgreSQL"),
  ],
];

describe("kubectl apply of a broken AgentDeployment", () => {
  it.each(cases)("with %s is refused in clear words", async (_, spec, lines) => {
    const agent = sampleAgent({ namespace, name: "broken" }, spec);
    const result = await kubectl.attempt(["apply", "--server-side", "-f", "-"], JSON.stringify(agent));
    expect(result.stderr.replaceAll(namespace, "NAMESPACE").trim().split("\n")).toEqual(lines);
  });

  it("with a name over 40 characters is refused, as children add suffixes", async () => {
    const agent = sampleAgent({ namespace, name: "a".repeat(41) });
    const result = await kubectl.attempt(["apply", "--server-side", "-f", "-"], JSON.stringify(agent));
    expect(result.stderr).toContain("metadata.name: Too long: may not be more than 40 bytes");
  });
});

describe("kubectl get agd", () => {
  it("prints the columns, and -o wide more of them", async () => {
    const agent = sampleAgent({ namespace, name: "order-desk" });
    await kubectl.apply(JSON.stringify(agent));
    const get = async (...flags: string[]): Promise<string[]> => {
      const lines = (await kubectl.run(["get", "agd", "-n", namespace, ...flags])).trim().split("\n");
      return (lines[0] ?? "").split(/\s{2,}/);
    };
    expect(await get()).toEqual(["NAME", "READY", "REASON", "MODE", "PLAN", "USAGE", "AGE"]);
    const wide = "NAME,READY,REASON,MODE,PLAN,USAGE,AGE,MODEL,LASTMETERED,MESSAGE";
    expect(await get("-o", "wide")).toEqual(wide.split(","));
  });

  it("says of one that nobody has seen that it was not observed", async () => {
    const agent = await kubectl.json(["get", "agd", "order-desk", "-n", namespace, "-o", "json"]);
    expect(agent).toMatchObject({ status: { observedGeneration: -1 } });
  });
});
