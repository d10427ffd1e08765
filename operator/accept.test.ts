import { describe, expect, it } from "vitest";
import { sampleInput } from "../test/fakes/desired-input.ts";
import { secretProblems, unsupportedFields } from "./accept.ts";

describe("unsupportedFields()", () => {
  const declaring = (count: number): Readonly<Record<string, unknown>> => {
    const names = Array.from({ length: count }, (_, index) => `pages_${index}`);
    const functions = names.map((dimension, index) => {
      // One dimension may stand in many functions.
      const usage = [...new Set([dimension, "pages_0"])].map((name) => ({ dimension: name, maxPerCall: "10" }));
      return { name: `read_${index}`, lane: "Automatic", usage };
    });
    return { tools: [{ name: "orders", mcp: { url: "http://orders:3000/mcp" }, functions }] };
  };

  it("takes as many declared dimensions as a pod can count", () => {
    expect(unsupportedFields(sampleInput(declaring(16)).spec)).toEqual([]);
  });

  it("accepts what this version enforces", () => {
    const oidc = [{ name: "corporate", issuer: "https://i.example.com", audience: "a" }];
    const local = { type: "LocalRules", action: "Mask", localRules: { detect: ["Cards"] } };
    const guardrails = ["Input", "Output"].map((phase) => ({ name: phase.toLowerCase(), phase, ...local }));
    const enforced = {
      guardrails,
      mode: "Constrained",
      budgets: { toolCalls: { max: 3 } },
      exposure: { auth: { oidc } },
    };
    expect(unsupportedFields(sampleInput(enforced).spec)).toEqual([]);
  });

  it.each([
    [declaring(17), "spec.tools with 17 declared dimensions is not supported by this version: use at most 16"],
    [
      { limits: [{ name: "a", dimension: "tokens", window: "Day", hard: "1" }] },
      "spec.limits is not supported by this version: use spec.budgets and the limits of functions",
    ],
    [
      { budgets: { tokens: { max: 1 } } },
      "spec.budgets.tokens is not supported by this version: use turns and toolCalls",
    ],
    [
      { budgets: { costMicros: { max: 1 } } },
      "spec.budgets.costMicros is not supported by this version: use turns and toolCalls",
    ],
    [
      { budgets: { turns: { max: 3, onBreach: "Ask" } } },
      "spec.budgets.turns.onBreach Ask is not supported by this version: use Stop",
    ],
    [
      { exposure: { type: "Gateway" } },
      "spec.exposure.type Gateway is not supported by this version: use ClusterIP and a route of yours to the Service",
    ],
    [{ exposure: { host: "a.example.com" } }, "spec.exposure.host is not supported by this version: remove it"],
    [
      { orchestrator: { autoscaling: { minReplicas: 1, maxReplicas: 2 } } },
      "spec.orchestrator.autoscaling is not supported by this version: remove it: its journal has one writer",
    ],
    [
      { orchestrator: { storage: { type: "PostgreSQL", postgreSQL: { secretRef: { name: "a", key: "b" } } } } },
      "spec.orchestrator.storage.type PostgreSQL is not supported by this version: use Volume",
    ],
    [
      { approvals: { callers: "Allowed" } },
      "spec.approvals.callers Allowed is not supported by this version: use Forbidden",
    ],
  ])("refuses %o in words that say what to do", (spec, message) => {
    expect(unsupportedFields(sampleInput(spec).spec)).toEqual([{ reason: "NotSupported", message, blocking: "Yes" }]);
  });
});

describe("secretProblems()", () => {
  const known = new Map([["azure", ["api-key"]]]);

  it.each([
    [
      'MountVolume.SetUp failed for volume "secret-1" : secret "azure" not found',
      "Secret azure must exist in this namespace",
    ],
    [
      'MountVolume.SetUp failed for volume "secret-1" : references non-existent secret key: api-key',
      "Secret azure must hold the key api-key",
    ],
  ])("understands the kubelet: %s", (said, message) => {
    expect(secretProblems([said, said], known)).toEqual([{ reason: "SecretNotFound", message, blocking: "No" }]);
  });

  it.each([
    'MountVolume.SetUp failed for volume "x" : configmap "azure" not found',
    'MountVolume.SetUp failed for volume "x" : secret "of-somebody-else" not found',
    "Unable to attach or mount volumes: timed out waiting for the condition",
  ])("takes nothing else for a missing Secret: %s", (said) => {
    expect(secretProblems([said], known)).toEqual([]);
  });
});
