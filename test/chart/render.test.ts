import { describe, expect, it } from "vitest";
import { CHART, chartFlags, find, helm, helmTemplate, MAJORS, parseManifests, PROFILES, render } from "./helm.ts";
import { environmentOf, podTemplates } from "./pods.ts";

describe.each(PROFILES)("chart with the values %s", (profile) => {
  it.each(MAJORS)("passes helm lint --strict of Helm %i", async (major) => {
    const flags = chartFlags({ profile }).filter((flag) => flag !== "--namespace" && flag !== "supercargo-system");
    const result = await helm(major, ["lint", "--strict", "--kube-version", "1.36.3", CHART, ...flags]);
    expect(`${result.stdout}${result.stderr}`).toContain("1 chart(s) linted, 0 chart(s) failed");
    expect(result.code).toBe(0);
  });

  it("renders the same objects with Helm 3 and Helm 4", async () => {
    const [three, four] = await Promise.all(MAJORS.map((major) => render({ major, profile })));
    expect(three?.length).toBeGreaterThan(20);
    expect(four).toEqual(three);
  });

  it("renders each object once, with the labels of the release", async () => {
    const manifests = await render({ profile });
    const keys = manifests.map(({ kind, metadata }) => `${kind}/${metadata.namespace ?? ""}/${metadata.name}`);
    expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([]);
    const unlabelled = manifests.filter((one) => one.metadata.labels?.["app.kubernetes.io/part-of"] !== "supercargo");
    expect(unlabelled.map((one) => `${one.kind}/${one.metadata.name}`)).toEqual([]);
  });

  it("leaves no trace of a template error", async () => {
    const { stdout } = await helmTemplate({ profile });
    expect(stdout).not.toMatch(/<no value>|%!|map\[|<nil>/);
  });
});

describe("names", () => {
  it("are at most 63 characters, even for the longest release name", async () => {
    const release = "a".repeat(53);
    const result = await helm(4, ["template", release, CHART, "--kube-version", "1.36.3"]);
    const names = parseManifests(result.stdout).map((manifest) => manifest.metadata.name);
    expect(names.filter((name) => name.length > 63)).toEqual([]);
    expect(names).toContain("a".repeat(40).concat("-operator"));
  });

  it("follow fullnameOverride", async () => {
    const manifests = await render({ values: { fullnameOverride: "cargo" } });
    expect(find(manifests, "Deployment", "cargo-operator").metadata.namespace).toBe("supercargo-system");
    const operator = podTemplates(manifests).get("cargo-operator");
    expect(operator && environmentOf(operator)["SUPERCARGO_SIDECAR_CLUSTER_ROLE"]).toBe("cargo-sidecar");
  });
});

describe("kubeVersion", () => {
  it.each(MAJORS)("admits vendor versions of 1.30 and refuses 1.29 with Helm %i", async (major) => {
    const vendor = await helm(major, ["template", "x", CHART, "--kube-version", "1.30.5-gke.1"]);
    expect(vendor.code).toBe(0);
    const old = await helm(major, ["template", "x", CHART, "--kube-version", "1.29.9"]);
    expect(old.stderr).toContain(
      "chart requires kubeVersion: >=1.30.0-0 which is incompatible with Kubernetes v1.29.9",
    );
  });
});

describe("image", () => {
  const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
  it.each([
    [{}, "supercargo:0.1.0"],
    [{ image: { registry: "r.example.com", tag: "1.2.3" } }, "r.example.com/supercargo:1.2.3"],
    [{ image: { registry: "r.example.com", tag: "1.2.3", digest } }, `r.example.com/supercargo@${digest}`],
    [{ global: { imageRegistry: "m.example.com" }, image: { registry: "r" } }, "m.example.com/supercargo:0.1.0"],
    [
      { global: { imageRegistry: "m", azure: { images: { supercargo: { registry: "a.io", image: "x/s", digest } } } } },
      `a.io/x/s@${digest}`,
    ],
    [{ global: { azure: { images: { supercargo: { registry: "a.io", image: "s", tag: "7" } } } } }, "a.io/s:7"],
  ])("of %j is %s, in both pods and for the operator's agents", async (values, expected) => {
    const templates = podTemplates(await render({ values }));
    const images = [...templates.values()].map((template) => template.spec.containers[0]?.image);
    expect(images).toEqual([expected, expected]);
    const operator = templates.get("supercargo-operator");
    expect(operator && environmentOf(operator)["SUPERCARGO_IMAGE"]).toBe(expected);
  });
});
