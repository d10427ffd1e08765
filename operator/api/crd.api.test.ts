import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CUSTOM_RESOURCE_DEFINITIONS } from "#runtime/kube/resources.ts";
import { isKubeObject } from "#runtime/kube/types.ts";
import { type ApiHarness, at, must, startApi, waitFor } from "../../test/api/harness.ts";
import { toCrd } from "./crd.ts";
import { RESOURCES } from "./resources.ts";

let api: ApiHarness;

beforeAll(async () => {
  api = await startApi({ crds: false });
});
afterAll(() => api?.stop());

describe("CRDs on a real API server", () => {
  it.each(RESOURCES)("$kind is accepted with strict validation and becomes structural", async (definition) => {
    const crd: unknown = toCrd(definition);
    if (!isKubeObject(crd)) throw new Error("no metadata");
    const stored = must(
      await api.client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, { fieldManager: "test", force: true }),
    );
    expect(at(stored, "spec.names.plural")).toBe(definition.plural);
    const conditions = await settledConditions(definition.plural);
    expect(conditions).toMatchObject({ Established: "True", NamesAccepted: "True" });
    expect(conditions["NonStructuralSchema"] ?? "False").toBe("False");
  });
});

async function settledConditions(plural: string): Promise<Record<string, string>> {
  return waitFor(`${plural} to be judged`, async () => {
    const crd = must(await api.client.get(CUSTOM_RESOURCE_DEFINITIONS, { name: `${plural}.supercargo.dev` }));
    const conditions = at(crd, "status.conditions");
    if (!Array.isArray(conditions)) return undefined;
    const byType = Object.fromEntries(conditions.map((condition) => [condition.type, condition.status]));
    return byType["Established"] === "True" || byType["NonStructuralSchema"] === "True" ? byType : undefined;
  });
}
