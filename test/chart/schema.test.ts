import { describe, expect, it } from "vitest";
import { MAJORS, refusal, render } from "./helm.ts";
import { environmentOf, podTemplates } from "./pods.ts";

/** A broken value, and the line that a person gets from Helm 3 and from Helm 4: their validators word it differently. */
const BROKEN: readonly (readonly [what: string, values: unknown, three: string, four: string])[] = [
  [
    "an unknown key at the root",
    { replicaCount: 2 },
    "(root): Additional property replicaCount is not allowed",
    "at '': additional properties 'replicaCount' not allowed",
  ],
  [
    "an unknown key of a component",
    { operator: { replica: 2 } },
    "operator: Additional property replica is not allowed",
    "at '/operator': additional properties 'replica' not allowed",
  ],
  [
    "a log level that does not exist",
    { reporter: { logLevel: "verbose" } },
    'reporter.logLevel: reporter.logLevel must be one of the following: "debug", "info", "warn", "error"',
    "at '/reporter/logLevel': value must be one of 'debug', 'info', 'warn', 'error'",
  ],
  [
    "words for a number",
    { operator: { replicas: "two" } },
    "operator.replicas: Does not match pattern '^[0-9]{1,3}$'",
    "at '/operator/replicas': 'two' does not match pattern '^[0-9]{1,3}$'",
  ],
  [
    "a digest that is none",
    { image: { digest: "latest" } },
    "image.digest: Does not match pattern '^(sha256:[0-9a-f]{64})?$'",
    "at '/image/digest': 'latest' does not match pattern '^(sha256:[0-9a-f]{64})?$'",
  ],
  [
    "a pull policy that does not exist",
    { image: { pullPolicy: "Sometimes" } },
    'image.pullPolicy: image.pullPolicy must be one of the following: "Always", "IfNotPresent", "Never"',
    "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
  ],
  [
    "a namespace in capitals",
    { watchNamespaces: ["Team-A"] },
    "watchNamespaces.0: Does not match pattern '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'",
    "at '/watchNamespaces/0': 'Team-A' does not match pattern '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'",
  ],
  [
    "a namespace that is no list",
    { watchNamespaces: "team-a" },
    "watchNamespaces: Invalid type. Expected: array, given: string",
    "at '/watchNamespaces': got string, want array",
  ],
  [
    "a checkpoint faster than 5 s",
    { metering: { checkpointSeconds: 1 } },
    "metering.checkpointSeconds: Must be greater than or equal to 5",
    "at '/metering/checkpointSeconds': minimum: got 1, want 5",
  ],
  [
    "a grant longer than a week",
    { metering: { grantLifeSeconds: 604801 } },
    "metering.grantLifeSeconds: Must be less than or equal to 604800",
    "at '/metering/grantLifeSeconds': maximum: got 604,801, want 604,800",
  ],
  [
    "a way with late usage that does not exist",
    { metering: { lateUsage: "carry" } },
    'metering.lateUsage: metering.lateUsage must be one of the following: "Carry", "Drop"',
    "at '/metering/lateUsage': value must be one of 'Carry', 'Drop'",
  ],
  [
    "receipts for less than a week",
    { metering: { statementRetentionDays: 6 } },
    "metering.statementRetentionDays: Must be greater than or equal to 7",
    "at '/metering/statementRetentionDays': minimum: got 6, want 7",
  ],
  [
    "an export that is perhaps needed",
    { metering: { retentionNeedsExport: "maybe" } },
    'metering.retentionNeedsExport: metering.retentionNeedsExport must be one of the following: true, false, "true", "false"',
    "at '/metering/retentionNeedsExport': value must be one of true, false, 'true', 'false'",
  ],
  [
    "a metering API without a scheme",
    { marketplace: { url: "marketplaceapi.microsoft.com/api" } },
    "marketplace.url: Does not match pattern '^https?://[^\\s]+$'",
    "at '/marketplace/url': 'marketplaceapi.microsoft.com/api' does not match pattern '^https?://[^\\\\s]+$'",
  ],
  [
    "a switch that is neither on nor off",
    { networkPolicy: { enabled: "maybe" } },
    'networkPolicy.enabled: networkPolicy.enabled must be one of the following: true, false, "true", "false"',
    "at '/networkPolicy/enabled': value must be one of true, false, 'true', 'false'",
  ],
  [
    "nobody who answers DNS",
    { networkPolicy: { dns: { peers: [] } } },
    "networkPolicy.dns.peers: Array must have at least 1 items",
    "at '/networkPolicy/dns/peers': minItems: got 0, want 1",
  ],
  [
    "an address without a prefix length",
    { networkPolicy: { apiServer: { cidrs: ["10.0.0.1"] } } },
    "networkPolicy.apiServer.cidrs.0: Does not match pattern '^[0-9a-fA-F.:]+/[0-9]{1,3}$'",
    "at '/networkPolicy/apiServer/cidrs/0': '10.0.0.1' does not match pattern '^[0-9a-fA-F.:]+/[0-9]{1,3}$'",
  ],
  [
    "a variable without a name",
    { operator: { extraEnv: [{ value: "x" }] } },
    "operator.extraEnv.0: name is required",
    "at '/operator/extraEnv/0': missing property 'name'",
  ],
  [
    "a label that is a number",
    { commonLabels: { team: 7 } },
    "commonLabels.team: Invalid type. Expected: string, given: integer",
    "at '/commonLabels/team': got number, want string",
  ],
];

describe("values.schema.json refuses", () => {
  it.each(BROKEN)("%s", async (...row) => {
    const [, values, three, four] = row;
    const [first, second] = await Promise.all(MAJORS.map((major) => refusal({ major, values })));
    expect(first).toContain(three);
    expect(second).toContain(four);
  });
});

describe("values.schema.json accepts", () => {
  it.each(MAJORS)("numbers and switches as strings, as an extension sends them, with Helm %i", async (major) => {
    const settings = [
      "operator.replicas=3",
      "reporter.podDisruptionBudget.maxUnavailable=1",
      "metering.checkpointSeconds=3600",
      "metering.grantLifeSeconds=604800",
      "metering.statementRetentionDays=3650",
      "metering.retentionNeedsExport=false",
      "networkPolicy.enabled=false",
      "networkPolicy.apiServer.ports[0]=6443",
      "operator.serviceAccount.create=true",
      "crds.install=false",
      "rbac.aggregate=false",
    ];
    const manifests = await render({ major, flags: settings.flatMap((setting) => ["--set-string", setting]) });
    const operator = manifests.find((one) => one.kind === "Deployment" && one.metadata.name === "supercargo-operator");
    expect(operator).toMatchObject({ spec: { replicas: 3 } });
    const template = podTemplates(manifests).get("supercargo-operator");
    expect(template && environmentOf(template)).toMatchObject({
      SUPERCARGO_CHECKPOINT_SECONDS: "3600",
      SUPERCARGO_GRANT_LIFE_SECONDS: "604800",
    });
    const reporter = podTemplates(manifests).get("supercargo-reporter");
    expect(reporter && environmentOf(reporter)).toMatchObject({
      SUPERCARGO_STATEMENT_RETENTION_DAYS: "3650",
      SUPERCARGO_RETENTION_NEEDS_EXPORT: "false",
    });
    // The string "false" is truthy in a template: each switch must really be off.
    const kinds = new Set(manifests.map((manifest) => manifest.kind));
    expect(kinds).not.toContain("NetworkPolicy");
    expect(kinds).not.toContain("CustomResourceDefinition");
    expect(JSON.stringify(manifests)).not.toContain("aggregate-to-view");
  });

  it.each(["4", "3601", "0", "-60", "60s"])("no checkpoint of %s as a string", async (value) => {
    const flags = ["--set-string", `metering.checkpointSeconds=${value}`];
    expect(await refusal({ flags })).toContain("at '/metering/checkpointSeconds'");
  });

  it.each(["599", "604801", "700000", "1000000", "0600"])("no grant of %s as a string", async (value) => {
    const flags = ["--set-string", `metering.grantLifeSeconds=${value}`];
    expect(await refusal({ flags })).toContain("at '/metering/grantLifeSeconds'");
  });

  it.each(["600", "999", "1000", "99999", "100000", "599999", "600000", "604799", "604800"])(
    "a grant of %s as a string",
    async (value) => {
      expect(await refusal({ flags: ["--set-string", `metering.grantLifeSeconds=${value}`] })).toBe("");
    },
  );

  it.each(MAJORS)("whatever Azure and a parent chart put beside ours, with Helm %i", async (major) => {
    const values = {
      global: { storageClass: "x", azure: { images: {}, future: { a: 1 } } },
      Azure: { Extension: { Name: "x" }, Cluster: { Cloud: "AZUREPUBLICCLOUD" }, anything: [1] },
    };
    expect(await refusal({ major, values })).toBe("");
  });

  it("no replicas, for a Deployment that something else scales", async () => {
    const manifests = await render({ flags: ["--set", "operator.replicas=null"] });
    const operator = manifests.find((one) => one.kind === "Deployment" && one.metadata.name === "supercargo-operator");
    expect(operator).not.toHaveProperty("spec.replicas");
    expect(operator).toHaveProperty("spec.selector");
  });
});
