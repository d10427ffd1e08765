import { describe, expect, it } from "vitest";
import { z } from "zod";
import { gatewayConfigSchema, orchestratorConfigSchema } from "#core/api/pod-config.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import { sampleInput } from "../../test/fakes/desired-input.ts";
import { sha256 } from "../canonical.ts";
import type { DesiredInput } from "./input.ts";
import { desiredObjects } from "./objects.ts";

const mountSchema = z.object({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().optional() });
const containerSchema = z.looseObject({
  name: z.string(),
  args: z.array(z.string()),
  command: z.undefined().optional(),
  restartPolicy: z.string().optional(),
  securityContext: z.unknown(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })),
  volumeMounts: z.array(mountSchema),
  resources: z.looseObject({ limits: z.record(z.string(), z.string()).optional() }),
});
const deploymentSchema = z.object({
  spec: z.object({
    replicas: z.number(),
    strategy: z.object({ type: z.string() }),
    selector: z.object({ matchLabels: z.record(z.string(), z.string()) }),
    template: z.object({
      metadata: z.object({
        labels: z.record(z.string(), z.string()),
        annotations: z.record(z.string(), z.string()).optional(),
      }),
      spec: z.looseObject({
        serviceAccountName: z.string(),
        automountServiceAccountToken: z.literal(false),
        terminationGracePeriodSeconds: z.number(),
        securityContext: z.unknown(),
        initContainers: z.array(containerSchema).length(1),
        containers: z.array(containerSchema).length(1),
        volumes: z.array(z.looseObject({ name: z.string() })),
      }),
    }),
  }),
});

function find(input: DesiredInput, kind: string, name: string): KubeObject | undefined {
  return desiredObjects(input).objects.find(
    ({ object }) => object.kind === kind && object.metadata.name === `order-desk-${name}`,
  )?.object;
}

function deployment(input: DesiredInput, component: string): z.output<typeof deploymentSchema>["spec"] {
  return deploymentSchema.parse(find(input, "Deployment", component)).spec;
}

const TOOL = {
  name: "orders",
  mcp: { url: "http://orders.shop.svc.cluster.local/mcp" },
  functions: [{ name: "get_order", lane: "Automatic" }],
};

function orchestratorConfig(input: DesiredInput): z.output<typeof orchestratorConfigSchema> {
  const { data } = z
    .object({ data: z.object({ "orchestrator.json": z.string() }) })
    .parse(find(input, "ConfigMap", "config"));
  return orchestratorConfigSchema.parse(JSON.parse(data["orchestrator.json"]));
}

describe("the pods", () => {
  it("keep the token of workload identity out of the meter", () => {
    const input = sampleInput();
    const identity = { ...input, spec: { ...input.spec, identity: { clientId: "c-1" } } };
    expect(deployment(input, "gateway").template.metadata.annotations).toBeUndefined();
    expect(deployment(identity, "orchestrator").template.metadata.annotations).toBeUndefined();
    const { metadata } = deployment(identity, "gateway").template;
    expect(metadata.labels["azure.workload.identity/use"]).toBe("true");
    expect(metadata.annotations).toEqual({ "azure.workload.identity/skip-containers": "meter" });
  });

  const components = ["gateway", "orchestrator"] as const;

  it.each(components)("of the %s hold to Pod Security restricted in every container", (component) => {
    const { spec } = deployment(sampleInput(), component).template;
    expect(spec.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 65_532,
      fsGroup: 65_532,
      seccompProfile: { type: "RuntimeDefault" },
    });
    for (const container of [...spec.initContainers, ...spec.containers]) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        runAsNonRoot: true,
        capabilities: { drop: ["ALL"] },
        seccompProfile: { type: "RuntimeDefault" },
      });
      expect(container.resources.limits?.["memory"]).toBeDefined();
      expect(container.env).toContainEqual({ name: "NODE_OPTIONS", value: "--max-old-space-size-percentage=75" });
      expect(container.volumeMounts.map((mount) => mount.mountPath)).toContain("/tmp");
    }
  });

  it.each(components)("of the %s have a meter that starts before the service and outlives it", (component) => {
    const { spec } = deployment(sampleInput(), component).template;
    expect(spec.initContainers[0]).toMatchObject({ name: "meter", restartPolicy: "Always", args: ["/app/sidecar.js"] });
    expect(spec.containers[0]).toMatchObject({ name: component, args: [`/app/${component}.js`] });
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(25 + 10);
  });

  it.each(components)(
    "of the %s give each file one writer, and the API server's token to no service that need not ask people",
    (component) => {
      const { spec } = deployment(sampleInput(), component).template;
      const [sidecar] = spec.initContainers;
      const [service] = spec.containers;
      const mounts = (container: typeof service): Record<string, boolean> =>
        Object.fromEntries((container?.volumeMounts ?? []).map((mount) => [mount.name, mount.readOnly === true]));
      expect(mounts(service)["kubernetes"]).toBe(component === "orchestrator" ? true : undefined);
      expect(mounts(sidecar)["kubernetes"]).toBe(true);
      expect(mounts(sidecar)).not.toHaveProperty("service-token");
      expect([mounts(service)["control"], mounts(sidecar)["control"]]).toEqual([true, false]);
      expect([mounts(service)["counters"], mounts(sidecar)["counters"]]).toEqual([false, true]);
      const secrets = Object.keys(mounts(sidecar)).filter((name) => name.startsWith("secret-"));
      expect(secrets).toEqual([]);
      const volumes = new Set(spec.volumes.map((volume) => volume.name));
      for (const container of [service, sidecar])
        for (const name of Object.keys(mounts(container))) expect(volumes).toContain(name);
    },
  );

  it.each([
    ["no tools", []],
    ["no function that may be called", [{ ...TOOL, functions: [{ name: "drop", lane: "Never" }] }]],
  ])("with %s ask nobody: no token, no role, nothing in the config", (_what, tools) => {
    const input = sampleInput({ tools });
    const [service] = deployment(input, "orchestrator").template.spec.containers;
    expect(service?.volumeMounts.map(({ name }) => name)).not.toContain("kubernetes");
    expect(find(input, "RoleBinding", "orchestrator")).toBeUndefined();
    expect(orchestratorConfig(input).approvals).toBeUndefined();
  });

  it("with tools ask people by a role of their own, bound to the orchestrator's account alone", () => {
    const input = sampleInput({ tools: [TOOL], approvals: { timeoutSeconds: 120 } });
    expect(find(input, "RoleBinding", "orchestrator")).toMatchObject({
      roleRef: { kind: "ClusterRole", name: "supercargo-orchestrator" },
      subjects: [{ kind: "ServiceAccount", name: "order-desk-orchestrator" }],
    });
    expect(orchestratorConfig(input).approvals).toEqual({ timeoutSeconds: 120, reasonRequired: "OnDeny" });
  });

  it("mount only the Secrets of their own component, read-only, key by key", () => {
    const secretsOf = (component: string): unknown[] =>
      deployment(sampleInput(), component).template.spec.volumes.flatMap((volume) =>
        "secret" in volume ? [volume["secret"]] : [],
      );
    expect(secretsOf("gateway")).toEqual([
      { secretName: "azure", defaultMode: 0o440, items: [{ key: "api-key", path: "api-key" }] },
    ]);
    expect(secretsOf("orchestrator")).toEqual([
      { secretName: "tool", defaultMode: 0o440, items: [{ key: "token", path: "token" }] },
    ]);
  });

  it("do not change with the config: nothing of it is in the template", () => {
    const changed = sampleInput({ exposure: {}, budgets: { turns: { max: 3 } } }, { instructions: "Other." });
    for (const component of components)
      expect(deployment(changed, component).template.spec.containers).toEqual(
        deployment(sampleInput(), component).template.spec.containers,
      );
  });

  it("carry Azure's label only in the Marketplace, and no label of a user replaces ours", () => {
    const labels = { "supercargo.dev/agent": "other", team: "shop" };
    const input = sampleInput({ gateway: { podLabels: labels } });
    expect(deployment(input, "gateway").template.metadata.labels).toMatchObject({
      "supercargo.dev/agent": "order-desk",
      team: "shop",
    });
    const name = "azure-extensions-usage-release-identifier";
    expect(deployment(input, "gateway").template.metadata.labels).not.toHaveProperty(name);
    const sold = { ...input, settings: { ...input.settings, extensionRelease: "supercargo" } };
    expect(deployment(sold, "gateway").template.metadata.labels[name]).toBe("supercargo");
  });

  it.each([
    ["by default", {}, [2, 1]],
    ["as asked", { gateway: { replicas: 5 }, orchestrator: { replicas: 0 } }, [5, 0]],
    ["when paused", { mode: "Paused" }, [2, 1]],
    ["when revoked", { mode: "Revoked", gateway: { replicas: 5 } }, [1, 0]],
  ])("are as many %s", (_, spec, [gateways, orchestrators]) => {
    expect(deployment(sampleInput(spec), "gateway").replicas).toBe(gateways);
    expect(deployment(sampleInput(spec), "orchestrator").replicas).toBe(orchestrators);
  });

  it("of the orchestrator never run two at a time, and keep their journal on a volume", () => {
    const spec = deployment(sampleInput(), "orchestrator");
    expect(spec.strategy.type).toBe("Recreate");
    expect(spec.template.spec.volumes).toContainEqual({
      name: "journal",
      persistentVolumeClaim: { claimName: "order-desk-journal" },
    });
    const ephemeral = sampleInput({ orchestrator: { storage: { type: "Ephemeral" } } });
    expect(find(ephemeral, "PersistentVolumeClaim", "journal")).toBeUndefined();
    expect(deployment(ephemeral, "orchestrator").template.spec.volumes).toContainEqual({
      name: "journal",
      emptyDir: { sizeLimit: "1Gi" },
    });
  });
});

describe("the config", () => {
  it("is what the services parse, and its digests are those of the files", () => {
    const { digests } = desiredObjects(sampleInput());
    const data = z
      .object({ data: z.record(z.string(), z.string()) })
      .parse(find(sampleInput(), "ConfigMap", "config")).data;
    const gateway = gatewayConfigSchema.parse(JSON.parse(data["gateway.json"] ?? ""));
    const orchestrator = orchestratorConfigSchema.parse(JSON.parse(data["orchestrator.json"] ?? ""));
    expect(gateway.models[0]?.deployments[0]).toMatchObject({
      baseUrl: "https://example.openai.azure.com/openai/v1",
      model: "gpt",
      auth: { type: "SecretFile", file: "/etc/supercargo/secrets/azure/api-key" },
    });
    expect(orchestrator).toMatchObject({
      generation: 3,
      instructions: "You answer.",
      model: "default",
      budgets: { turns: 20 },
    });
    expect(digests.gateway).toBe(sha256(data["gateway.json"] ?? ""));
    expect(digests.orchestrator).toBe(sha256(data["orchestrator.json"] ?? ""));
  });

  it("has the time to the first byte where a model names one", () => {
    const [model] = sampleInput().spec.models;
    const gatewayOf = (input: DesiredInput): z.output<typeof gatewayConfigSchema> => {
      const { data } = z.object({ data: z.record(z.string(), z.string()) }).parse(find(input, "ConfigMap", "config"));
      return gatewayConfigSchema.parse(JSON.parse(data["gateway.json"] ?? ""));
    };
    const given = sampleInput({ models: [{ ...model, firstByteTimeoutMs: 20_000 }] });
    expect(gatewayOf(given).models[0]).toMatchObject({ name: "default", firstByteTimeoutMs: 20_000 });
    expect(gatewayOf(sampleInput()).models[0]).not.toHaveProperty("firstByteTimeoutMs");
  });

  it("has the issuers of callers for the gateway, and no word of them where there are none", () => {
    const gatewayOf = (input: DesiredInput): z.output<typeof gatewayConfigSchema> => {
      const { data } = z.object({ data: z.record(z.string(), z.string()) }).parse(find(input, "ConfigMap", "config"));
      expect(data["orchestrator.json"]).not.toContain("oidc");
      return gatewayConfigSchema.parse(JSON.parse(data["gateway.json"] ?? ""));
    };
    const entra = {
      name: "entra",
      issuer: "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
      audience: "8f1a9f0e-2b1d-4d57-9b3c-4e0a6f1d2c3b",
      entra: { tenantId: "72f988bf-86f1-41af-91ab-2d7cd011db47" },
      actors: ["6731de76-14a6-49ae-97bc-6eba6914391e"],
      roles: ["Agent.Call"],
    };
    const plain = { name: "ci", issuer: "https://ci.example.com", audience: "a", jwksUri: "https://ci.example.com/k" };
    const egress = { cidrs: ["10.0.0.4/32"] };
    const input = sampleInput({ exposure: { auth: { oidc: [entra, { ...plain, egress }] } } });
    expect(gatewayOf(input).oidc).toEqual([
      { ...entra, entra: { ...entra.entra, tokenVersion: "V2" }, scopes: [] },
      { ...plain, actors: [], roles: [], scopes: [] },
    ]);
    expect(gatewayOf(sampleInput())).not.toHaveProperty("oidc");
    expect(gatewayOf(sampleInput({ exposure: { auth: { oidc: [] } } }))).not.toHaveProperty("oidc");
  });

  it("lets each component believe the other one's account alone, by audiences that match", () => {
    const data = z
      .object({ data: z.record(z.string(), z.string()) })
      .parse(find(sampleInput(), "ConfigMap", "config")).data;
    const gateway = gatewayConfigSchema.parse(JSON.parse(data["gateway.json"] ?? ""));
    const orchestrator = orchestratorConfigSchema.parse(JSON.parse(data["orchestrator.json"] ?? ""));
    expect(gateway.serviceIdentity.subjects).toEqual(["system:serviceaccount:agents:order-desk-orchestrator"]);
    expect(orchestrator.serviceIdentity.subjects).toEqual(["system:serviceaccount:agents:order-desk-gateway"]);
    expect(gateway.orchestrator.audience).toBe(orchestrator.serviceIdentity.audience);
    expect(orchestrator.gateway.audience).toBe(gateway.serviceIdentity.audience);
    const audience = (component: string): unknown =>
      deployment(sampleInput(), component).template.spec.volumes.find((volume) => volume.name === "service-token");
    expect(JSON.stringify(audience("gateway"))).toContain(gateway.orchestrator.audience);
    expect(JSON.stringify(audience("orchestrator"))).toContain(orchestrator.gateway.audience);
  });
});

describe("the network policies", () => {
  const policySchema = z.object({
    spec: z.object({
      podSelector: z.unknown(),
      policyTypes: z.array(z.string()),
      ingress: z.array(z.object({ from: z.array(z.unknown()).min(1), ports: z.array(z.unknown()).min(1) })),
      egress: z.array(z.object({ to: z.array(z.unknown()).min(1), ports: z.array(z.unknown()).min(1) })),
    }),
  });
  const policy = (input: DesiredInput, component: string) =>
    policySchema.parse(find(input, "NetworkPolicy", component)).spec;
  const pods = (component: string): unknown => ({
    podSelector: {
      matchLabels: {
        "supercargo.dev/agent": "order-desk",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "supercargo",
      },
    },
  });

  it("deny both ways and name every peer: no rule is open", () => {
    for (const component of ["gateway", "orchestrator"])
      expect(policy(sampleInput(), component).policyTypes).toEqual(["Ingress", "Egress"]);
  });

  it("let in: named namespaces and the orchestrator to the gateway, the gateway alone to the orchestrator", () => {
    const shop = { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "shop" } } };
    expect(policy(sampleInput(), "gateway").ingress).toEqual([
      { from: [pods("orchestrator"), shop], ports: [{ port: 8080, protocol: "TCP" }] },
    ]);
    expect(policy(sampleInput(), "orchestrator").ingress).toEqual([
      { from: [pods("gateway")], ports: [{ port: 8088, protocol: "TCP" }] },
    ]);
  });

  it("let out: DNS, the API server at its own address, the other component, and the peers given", () => {
    const rule = { to: [{ ipBlock: { cidr: "203.0.113.0/24" } }], ports: [{ port: 443, protocol: "TCP" as const }] };
    const { egress } = policy(sampleInput({}, { peers: { gateway: [rule], orchestrator: [] } }), "gateway");
    expect(egress.slice(1)).toEqual([
      { to: [{ ipBlock: { cidr: "10.199.0.1/32" } }], ports: [{ port: 6443, protocol: "TCP" }] },
      { to: [pods("orchestrator")], ports: [{ port: 8088, protocol: "TCP" }] },
      rule,
    ]);
  });

  it("stand before any pod: they are applied first", () => {
    const kinds = desiredObjects(sampleInput()).objects.map(({ object }) => object.kind);
    expect(kinds.lastIndexOf("NetworkPolicy")).toBeLessThan(kinds.indexOf("Deployment"));
    expect(kinds.indexOf("ConfigMap")).toBeLessThan(kinds.indexOf("Deployment"));
  });
});

describe("names", () => {
  it("stay DNS labels for the longest agent name", () => {
    const input = sampleInput({}, { agent: { namespace: "n", name: "a".repeat(40), uid: "u", generation: 1 } });
    for (const { object } of desiredObjects(input).objects) expect(object.metadata.name.length).toBeLessThanOrEqual(63);
  });
});
