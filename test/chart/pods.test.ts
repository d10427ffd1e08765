import { describe, expect, it } from "vitest";
import { VALID_CATALOGUES } from "../catalogue/valid.ts";
import { find, PROFILES, render } from "./helm.ts";
import { type Container, containersOf, type PodTemplate, podTemplates } from "./pods.ts";

/** What our own page demands beside Pod Security: one check and its words each. */
const DEMANDS: readonly (readonly [problem: string, ok: (container: Container, pod: PodTemplate) => boolean])[] = [
  ["allowPrivilegeEscalation must be false", (one) => one.securityContext?.allowPrivilegeEscalation === false],
  ["readOnlyRootFilesystem must be true", (one) => one.securityContext?.readOnlyRootFilesystem === true],
  ["runAsNonRoot must be true", (one) => one.securityContext?.runAsNonRoot === true],
  ["capabilities.drop must hold ALL", (one) => one.securityContext?.capabilities?.drop?.includes("ALL") === true],
  ["capabilities.add must be empty", (one) => one.securityContext?.capabilities?.add === undefined],
  ["seccompProfile must be RuntimeDefault", (one) => one.securityContext?.seccompProfile?.type === "RuntimeDefault"],
  ["runAsUser must be 65532 in the pod", (_, pod) => pod.spec.securityContext?.runAsUser === 65532],
  ["/tmp must be a mount", (one) => one.volumeMounts.some((mount) => mount.mountPath === "/tmp")],
  ["requests must be set", (one) => one.resources?.requests !== undefined],
  ["limits must be set", (one) => one.resources?.limits !== undefined],
  ["command must be absent, it would replace the image's entrypoint", (one) => one.command === undefined],
  ["args must name the process", (one) => one.args?.length === 1],
];

function shortfalls(container: Container, pod: PodTemplate): string[] {
  return DEMANDS.filter(([, ok]) => !ok(container, pod)).map(([problem]) => `${container.name}: ${problem}`);
}

describe.each(PROFILES)("pods with the values %s", (profile) => {
  it("are restricted in every container", async () => {
    const templates = [...podTemplates(await render({ profile })).values()];
    expect(templates).toHaveLength(2);
    expect(templates.flatMap((pod) => containersOf(pod).flatMap((one) => shortfalls(one, pod)))).toEqual([]);
  });

  it("set no variable twice", async () => {
    const containers = [...podTemplates(await render({ profile })).values()].flatMap(containersOf);
    const twice = containers.flatMap(({ env }) =>
      env.map(({ name }) => name).filter((name, index, names) => names.indexOf(name) !== index),
    );
    expect(twice).toEqual([]);
  });

  it("mount no token by themselves, and theirs at the usual place", async () => {
    const manifests = await render({ profile });
    for (const account of manifests.filter((one) => one.kind === "ServiceAccount"))
      expect(account).toHaveProperty("automountServiceAccountToken", false);
    for (const pod of podTemplates(manifests).values()) {
      expect(pod.spec.automountServiceAccountToken).toBe(false);
      const mounts = containersOf(pod).flatMap((one) => one.volumeMounts);
      expect(mounts).toContainEqual({
        name: "kubernetes",
        mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
        readOnly: true,
      });
      const volume = pod.spec.volumes.find((one) => one.name === "kubernetes");
      expect(JSON.stringify(volume)).toMatch(/"path":"token".*"path":"ca.crt".*"path":"namespace"/);
    }
  });

  it("answer the three probes on the admin port", async () => {
    for (const pod of podTemplates(await render({ profile })).values())
      for (const container of containersOf(pod)) {
        expect(container).toMatchObject({
          ports: [{ name: "admin", containerPort: 9090 }],
          startupProbe: { httpGet: { path: "/livez", port: "admin" } },
          livenessProbe: { httpGet: { path: "/livez", port: "admin" } },
          readinessProbe: { httpGet: { path: "/readyz", port: "admin" } },
        });
      }
  });

  it("run in an account of their own", async () => {
    const accounts = [...podTemplates(await render({ profile })).values()].map((pod) => pod.spec.serviceAccountName);
    expect(new Set(accounts).size).toBe(2);
  });
});

it("finds a container that is not restricted", () => {
  const bare = { name: "bare", image: "x", env: [], volumeMounts: [] };
  const pod = { metadata: { labels: {} }, spec: { initContainers: [], containers: [bare], volumes: [] } };
  expect(shortfalls(bare, pod)).toHaveLength(10);
});

describe("disruption budgets", () => {
  it("stand beside two replicas and not beside one, which they would keep from ever being drained", async () => {
    const two = (await render()).filter((one) => one.kind === "PodDisruptionBudget");
    expect(two.map((one) => one.metadata.name)).toEqual(["supercargo-operator", "supercargo-reporter"]);
    const one = (await render({ profile: "air-gapped" })).filter((each) => each.kind === "PodDisruptionBudget");
    expect(one).toEqual([]);
  });
});

describe("a changed catalogue", () => {
  it("restarts the pods", async () => {
    const checksum = async (values: unknown): Promise<string | undefined> =>
      podTemplates(await render({ values })).get("supercargo-reporter")?.metadata.annotations?.["checksum/catalogue"];
    const shipped = await checksum({});
    expect(shipped).toMatch(/^[0-9a-f]{64}$/);
    expect(await checksum({ catalogue: VALID_CATALOGUES[0]?.value })).not.toBe(shipped);
  });
});

describe("production values", () => {
  it("reach the pods", async () => {
    const manifests = await render({ profile: "production" });
    expect(find(manifests, "Deployment", "supercargo-operator")).toMatchObject({
      metadata: { labels: { "cost-centre": "4711" } },
      spec: {
        template: {
          metadata: {
            labels: { "example.com/tier": "control", "app.kubernetes.io/component": "operator" },
            annotations: { "example.com/owner": "platform" },
          },
          spec: {
            imagePullSecrets: [{ name: "registry" }],
            priorityClassName: "system-cluster-critical",
            nodeSelector: { "kubernetes.io/os": "linux" },
            tolerations: [{ key: "CriticalAddonsOnly", operator: "Exists" }],
          },
        },
      },
    });
  });

  it("cannot change the labels that selectors use", async () => {
    const podLabels = { "app.kubernetes.io/component": "other", "example.com/x": "y" };
    const pod = podTemplates(await render({ values: { operator: { podLabels } } })).get("supercargo-operator");
    expect(pod?.metadata.labels).toMatchObject({ "app.kubernetes.io/component": "operator", "example.com/x": "y" });
  });
});
