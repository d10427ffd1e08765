import { describe, expect, it } from "vitest";
import { VALID_CATALOGUES } from "../catalogue/valid.ts";
import { find, type RenderOptions, refusal, render } from "./helm.ts";
import { environmentOf, podTemplates } from "./pods.ts";

const REAL = "/subscriptions/12345678-1234-4234-8234-123456789abc/resourceGroups/r/providers/x";
const ZERO = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/r/providers/x";

function offer(resourceId: string, planId = "business"): Record<string, unknown> {
  return {
    global: {
      azure: {
        identity: { clientId: "11111111-1111-4111-8111-111111111111" },
        marketplace: { planId },
        extension: { resourceId },
      },
    },
  };
}

async function environments(options: RenderOptions): Promise<{
  readonly operator: Readonly<Record<string, string>>;
  readonly reporter: Readonly<Record<string, string>>;
}> {
  const templates = podTemplates(await render(options));
  const [operator, reporter] = ["supercargo-operator", "supercargo-reporter"].map((name) => templates.get(name));
  if (operator === undefined || reporter === undefined) throw new Error("A Deployment is missing");
  return { operator: environmentOf(operator), reporter: environmentOf(reporter) };
}

describe("plain mode", () => {
  it("passes the sentinel as nothing", async () => {
    const { operator, reporter } = await environments({});
    expect(operator).toEqual({
      NODE_OPTIONS: "--max-old-space-size-percentage=75",
      SUPERCARGO_CATALOGUE_FILE: "/etc/supercargo/catalogue/catalogue.yaml",
      SUPERCARGO_CHECKPOINT_SECONDS: "60",
      SUPERCARGO_CLUSTER_DOMAIN: "cluster.local",
      SUPERCARGO_GRANT_LIFE_SECONDS: "86400",
      SUPERCARGO_IMAGE: "supercargo:0.1.0",
      SUPERCARGO_IMAGE_PULL_POLICY: "IfNotPresent",
      SUPERCARGO_LOG_LEVEL: "info",
      SUPERCARGO_METRICS_PEERS: JSON.stringify([
        {
          namespaceSelector: {
            matchExpressions: [
              { key: "kubernetes.io/metadata.name", operator: "In", values: ["kube-system", "monitoring"] },
            ],
          },
        },
      ]),
      SUPERCARGO_OFFER_RESOURCE_ID: "",
      SUPERCARGO_PLAN_ID: "",
      SUPERCARGO_POD_NAME: "<ref>",
      SUPERCARGO_POD_NAMESPACE: "<ref>",
      SUPERCARGO_SIDECAR_CLUSTER_ROLE: "supercargo-sidecar",
      SUPERCARGO_ORCHESTRATOR_CLUSTER_ROLE: "supercargo-orchestrator",
      SUPERCARGO_WATCH_NAMESPACES: "",
    });
    expect(reporter).toEqual({
      NODE_OPTIONS: "--max-old-space-size-percentage=75",
      SUPERCARGO_CATALOGUE_FILE: "/etc/supercargo/catalogue/catalogue.yaml",
      SUPERCARGO_CHECKPOINT_SECONDS: "60",
      SUPERCARGO_CLIENT_ID: "",
      SUPERCARGO_GRANT_LIFE_SECONDS: "86400",
      SUPERCARGO_LATE_USAGE: "Carry",
      SUPERCARGO_LOG_LEVEL: "info",
      SUPERCARGO_MARKETPLACE_URL: "https://marketplaceapi.microsoft.com/api",
      SUPERCARGO_OFFER_RESOURCE_ID: "",
      SUPERCARGO_PLAN_ID: "",
      SUPERCARGO_POD_NAME: "<ref>",
      SUPERCARGO_POD_NAMESPACE: "<ref>",
      SUPERCARGO_RECONCILE_REQUIRED: "true",
      SUPERCARGO_RETENTION_NEEDS_EXPORT: "true",
      SUPERCARGO_STATEMENT_RETENTION_DAYS: "45",
    });
  });

  it("is also what empty strings and a missing block mean", async () => {
    const empty = { azure: { identity: { clientId: "" }, marketplace: { planId: "" }, extension: null } };
    const { reporter } = await environments({ values: { global: empty } });
    expect(reporter["SUPERCARGO_PLAN_ID"]).toBe("");
  });

  it("may replace the catalogue", async () => {
    const calls = { id: "calls", from: "calls", unit: "call", divisor: "1000000" };
    const plan = { id: "free", displayName: "Free", billing: "Free", dimensions: [] };
    const catalogue = { dimensions: [calls], plans: [plan] };
    const map = find(await render({ values: { catalogue } }), "ConfigMap", "supercargo-catalogue");
    expect(JSON.stringify(map)).toContain(String.raw`divisor: \"1000000\"`);
  });
});

describe("Marketplace mode", () => {
  it("passes what Azure injected, and the release for Azure's label", async () => {
    const { operator, reporter } = await environments({ values: offer(REAL) });
    expect(operator).toMatchObject({
      SUPERCARGO_PLAN_ID: "business",
      SUPERCARGO_OFFER_RESOURCE_ID: REAL,
      SUPERCARGO_EXTENSION_RELEASE: "supercargo",
    });
    expect(reporter).toMatchObject({
      SUPERCARGO_CLIENT_ID: "11111111-1111-4111-8111-111111111111",
      SUPERCARGO_PLAN_ID: "business",
      SUPERCARGO_OFFER_RESOURCE_ID: REAL,
    });
    expect(reporter).not.toHaveProperty("SUPERCARGO_CLOCK_URL");
  });

  it("sends the reporter through Azure's proxy, but neither to IMDS nor to the API server", async () => {
    const { operator, reporter } = await environments({ profile: "marketplace" });
    expect(reporter).toMatchObject({
      NODE_USE_ENV_PROXY: "1",
      HTTPS_PROXY: "http://proxy.example.com:3128",
      HTTP_PROXY: "http://proxy.example.com:3128",
      NO_PROXY: "169.254.169.254,$(KUBERNETES_SERVICE_HOST),.svc,.cluster.local,10.0.0.0/8,.example.com",
      NODE_EXTRA_CA_CERTS: "/etc/supercargo/proxy/ca.crt",
    });
    expect(operator).not.toHaveProperty("HTTPS_PROXY");
  });

  it("takes isProxyEnabled as the string false for what it says", async () => {
    const proxySettings = { isProxyEnabled: "false", httpsProxy: "http://proxy.example.com:3128" };
    const { reporter } = await environments({ values: { Azure: { proxySettings } } });
    expect(reporter).not.toHaveProperty("HTTPS_PROXY");
  });

  it("knows the all-zero subscription in any case, and allows the emulator there", async () => {
    const url = "http://emulator.a.svc:8081/control/clock";
    const values = { ...offer(ZERO.replace("/subscriptions", "/Subscriptions")), emulator: { clockUrl: url } };
    expect((await environments({ values })).reporter["SUPERCARGO_CLOCK_URL"]).toBe(url);
  });
});

describe("what is refused", () => {
  const only = (name: string): Record<string, unknown> => {
    const { identity, marketplace, extension } = offerParts();
    const parts: Record<string, unknown> = { identity, marketplace, extension };
    return { global: { azure: { [name]: parts[name] } } };
  };
  it.each([
    [
      "a client id alone",
      only("identity"),
      "Cannot render the chart as identity, plan and resource id must be all set (Marketplace) or all empty or DONOTMODIFY (plain): set are global.azure.identity.clientId; not set are global.azure.marketplace.planId, global.azure.extension.resourceId",
    ],
    [
      "a plan alone",
      only("marketplace"),
      "set are global.azure.marketplace.planId; not set are global.azure.identity.clientId, global.azure.extension.resourceId",
    ],
    [
      "a resource id alone",
      only("extension"),
      "set are global.azure.extension.resourceId; not set are global.azure.identity.clientId, global.azure.marketplace.planId",
    ],
    [
      "another catalogue for a real subscription",
      { ...offer(REAL), catalogue: VALID_CATALOGUES[0]?.value },
      "Cannot replace the catalogue as values.catalogue must be empty in Marketplace mode: what is sold stands in the chart's files/catalogue.yaml",
    ],
    [
      "another metering API for a real subscription",
      { ...offer(REAL), marketplace: { url: "http://nowhere.example.com" } },
      "Cannot post usage elsewhere as marketplace.url must be https://marketplaceapi.microsoft.com/api for a real subscription: current value is http://nowhere.example.com",
    ],
    [
      "a clock for a real subscription",
      { ...offer(REAL), emulator: { clockUrl: "http://e/clock" } },
      "Cannot move the clock as emulator.clockUrl must be empty unless global.azure.extension.resourceId has the subscription 00000000-0000-0000-0000-000000000000: current value is http://e/clock",
    ],
    [
      "a clock in plain mode",
      { emulator: { clockUrl: "http://e/clock" } },
      "Cannot move the clock as emulator.clockUrl must be empty unless global.azure.extension.resourceId has the subscription",
    ],
    [
      "a setting of ours in extraEnv",
      { reporter: { extraEnv: [{ name: "SUPERCARGO_PLAN_ID", value: "x" }] } },
      "Cannot set reporter.extraEnv[0].name as it must not be SUPERCARGO_*, NODE_*, AZURE_* or a proxy variable: current value is SUPERCARGO_PLAN_ID",
    ],
    [
      "one name twice in extraEnv",
      { operator: { extraEnv: [{ name: "A" }, { name: "A" }] } },
      "Cannot set operator.extraEnv[1].name as it must be unique: current value is A",
    ],
    [
      "workload identity for the reporter",
      { reporter: { podLabels: { "azure.workload.identity/use": "true" } } },
      "Cannot label the reporter as reporter.podLabels must not hold azure.workload.identity/use: it would get another identity than the extension's and could not post usage",
    ],
  ])("%s", async (_, values, message) => {
    expect(await refusal({ values })).toContain(message);
    expect(await refusal({ values, major: 3 })).toContain(message);
  });
});

function offerParts(): Record<"identity" | "marketplace" | "extension", unknown> {
  return {
    identity: { clientId: "11111111-1111-4111-8111-111111111111" },
    marketplace: { planId: "business" },
    extension: { resourceId: REAL },
  };
}
