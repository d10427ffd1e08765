import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { createKubectl, type Kubectl } from "../../scripts/demo/kubectl.ts";
import { ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import { type LightCluster, startLightCluster } from "../cluster/local/light.ts";

/** The Kubernetes objects that docs/emulator.md shows, in their order. */
const objects = [...readFileSync("docs/emulator.md", "utf8").matchAll(/```yaml\n([\s\S]*?)```/g)]
  .map((match) => match[1] ?? "")
  .filter((block) => block.startsWith("apiVersion:"))
  .flatMap((block) => parseAllDocuments(block))
  .map((document) => JSON.stringify(document.toJS()));

let cluster: LightCluster;
let kubectl: Kubectl;
beforeAll(async () => {
  cluster = await startLightCluster();
  kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: cluster.kubeconfig });
});
afterAll(() => cluster?.stop());

it("docs/emulator.md shows a whole install and an agent's pod", () => {
  const kinds = objects.map((text) => /"kind":"(\w+)"/.exec(text)?.[1]);
  expect(kinds).toEqual(["Namespace", "ConfigMap", "PersistentVolumeClaim", "Service", "Deployment", "Deployment"]);
});

it("the API server takes every object of docs/emulator.md, and knows every field", async () => {
  for (const object of objects) {
    const result = await kubectl.attempt(["apply", "--server-side", "--validate=strict", "-f", "-"], object);
    expect(result).toMatchObject({ code: 0, stderr: "" });
  }
});
