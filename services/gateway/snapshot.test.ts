import { describe, expect, it } from "vitest";
import { needsWorkloadIdentity, parseSnapshot, poolIds, secretFiles } from "./snapshot.ts";
import { deployment, gatewayConfig } from "./test-world.ts";

const identity = { issuer: "i", audience: "a", subjects: [], jwks: { keys: [] } };
const good = gatewayConfig({ modelUrl: "http://model", orchestratorUrl: "http://orchestrator:8088", identity });
const gpt = { name: "gpt", outputTokensMax: 1, deployments: [deployment("one", { modelUrl: "http://model" })] };
const problemsOf = (config: unknown): string => {
  try {
    parseSnapshot(typeof config === "string" ? config : JSON.stringify(config));
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
};

describe("parseSnapshot()", () => {
  it("orders deployments by priority", () => {
    const model = {
      ...gpt,
      deployments: [
        { ...deployment("fallback", { modelUrl: "http://model" }), priority: 9 },
        deployment("one", { modelUrl: "http://model" }),
        deployment("two", { modelUrl: "http://model" }),
      ],
    };
    const { models } = parseSnapshot(JSON.stringify({ ...good, models: [model] }));
    expect(models.get("gpt")?.groups.map((group) => group.map((each) => each.name))).toEqual([
      ["one", "two"],
      ["fallback"],
    ]);
  });

  it.each([
    ["no JSON", "{", "  - (root): must be JSON"],
    ["two aliases of one name", { ...good, models: [gpt, gpt] }, "  - models: gpt must be named once"],
    [
      "two deployments of one name",
      { ...good, models: [{ ...gpt, deployments: [...gpt.deployments, ...gpt.deployments] }] },
      "  - models.gpt: one must be named once",
    ],
    [
      "no URL",
      { ...good, orchestrator: { url: "orchestrator:8088", audience: "a" } },
      '  - orchestrator.url: must be an http or https URL: current value is "orchestrator:8088"',
    ],
    [
      "a key that ends at no time",
      { ...good, apiKeys: [{ name: "k", sha256: "0", principal: "p", expiresAt: "soon" }] },
      '  - apiKeys.k.expiresAt: must be an RFC 3339 time: current value is "soon"',
    ],
  ])("refuses %s", (_, config, problem) => {
    expect(problemsOf(config)).toBe(`Cannot use the gateway's config:\n${problem}`);
  });

  it("does not repeat a key's hash in a message", () => {
    expect(problemsOf({ ...good, apiKeys: [{ name: 1, sha256: "hash-1", principal: "p" }] })).not.toContain("hash-1");
  });

  it("knows what hangs on it: secrets, pools, an identity", () => {
    const keyed = deployment("keyed", { modelUrl: "http://model", modelKeyFile: "/etc/key" });
    const snapshot = parseSnapshot(JSON.stringify({ ...good, models: [{ ...gpt, deployments: [keyed] }] }));
    expect([...secretFiles(snapshot)]).toEqual(["/etc/key"]);
    expect([...poolIds(snapshot)]).toEqual(["orchestrator http://orchestrator:8088", "gpt/keyed http://model"]);
    expect(needsWorkloadIdentity(snapshot)).toBe(false);
    const entra = { ...keyed, auth: { type: "WorkloadIdentity" } };
    expect(
      needsWorkloadIdentity(parseSnapshot(JSON.stringify({ ...good, models: [{ ...gpt, deployments: [entra] }] }))),
    ).toBe(true);
  });
});
