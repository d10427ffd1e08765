import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { AGENT_DEPLOYMENTS } from "#runtime/kube/resources.ts";
import { isKubeObject, type KubeObject } from "#runtime/kube/types.ts";
import { unsupportedFields } from "../../operator/accept.ts";
import { agentDeploymentSpecSchema } from "../../services/core/api/agent-deployment.ts";
import { type ApiHarness, must, startApi } from "../api/harness.ts";

/** Every AgentDeployment that a reader is shown, by page. */
const examples = [
  "README.md",
  ...readdirSync("docs", { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(md|yaml)$/.test(file))
    .map((file) => `docs/${file}`),
].flatMap((page) => agentsOf(page, readFileSync(page, "utf8")));

let api: ApiHarness;

beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api?.stop());

describe("the examples of README and docs", () => {
  it("are there", () => {
    expect(examples.map(({ page }) => page)).toEqual(
      expect.arrayContaining(["README.md", "docs/agentdeployment.md", "docs/sample/agent.yaml"]),
    );
  });

  it.each(examples)("$page: $name is taken by the API server and by the operator", async ({ object }) => {
    const namespace = await api.newNamespace();
    const named = { ...object, metadata: { ...object.metadata, namespace } };
    const stored = must(await api.client.apply(AGENT_DEPLOYMENTS, named, { fieldManager: "docs", force: true }));
    expect(unsupportedFields(agentDeploymentSpecSchema.parse(stored["spec"]))).toEqual([]);
  });
});

function agentsOf(page: string, text: string): { page: string; name: string; object: KubeObject }[] {
  const blocks = page.endsWith(".yaml")
    ? [text]
    : [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
  return blocks
    .flatMap((block) => parseAllDocuments(block).map((document): unknown => document.toJS()))
    .filter(isKubeObject)
    .filter((object) => object.kind === "AgentDeployment")
    .map((object) => ({ page, name: object.metadata.name, object }));
}
