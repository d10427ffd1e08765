import { describe, expect, it } from "vitest";
import { gatewayConfigSchema } from "#core/api/pod-config.ts";
import { z } from "zod";
import { sampleInput } from "../../test/fakes/desired-input.ts";
import { renderConfig } from "./config-map.ts";
import { endpointsOf } from "./peers.ts";
import { secretKeys } from "./volumes.ts";

const contentSafety = { endpoint: "https://safety.example.com/" };
const keyed = { ...contentSafety, auth: { type: "SecretRef", secretRef: { name: "safety", key: "key" } } };
const guardrails = [
  { name: "shields", type: "PromptShields", phase: "Input", contentSafety },
  { name: "harm", type: "AnalyzeText", phase: "Input", action: "Alert", failureMode: "Open", contentSafety: keyed },
  {
    name: "violence",
    type: "AnalyzeText",
    phase: "Input",
    contentSafety: { ...keyed, timeoutMs: 500, egress: { cidrs: ["10.0.0.4/32"] } },
    analyzeText: { categories: [{ name: "Violence" }], blocklists: ["ours"] },
  },
  { name: "filter", type: "AzureContentFilter", phase: "Output" },
  { name: "out", type: "LocalRules", phase: "Output", action: "Mask", localRules: { detect: ["Cards"] } },
];
const LOCAL = {
  detect: ["Secrets", "Cards", "Emails"],
  denyWords: ["project nightingale"],
  allowWords: ["help@example.com"],
};
const input = sampleInput({ guardrails });

function configOf(given: typeof input) {
  const { data } = z.object({ data: z.record(z.string(), z.string()) }).parse(renderConfig(given).object.object);
  return gatewayConfigSchema.parse(JSON.parse(data["gateway.json"] ?? ""));
}

describe("guardrails of a spec", () => {
  it("reach the gateway in their order, with what is the default", () => {
    const common = { phase: "Input", action: "Reject", failureMode: "Closed" };
    const service = { endpoint: "https://safety.example.com", timeoutMs: 3000 };
    const from = (severityMin: number, ...names: string[]) => names.map((category) => ({ category, severityMin }));
    expect(configOf(input).guardrails).toEqual([
      { type: "PromptShields", name: "shields", ...common, ...service, auth: { type: "WorkloadIdentity" } },
      {
        type: "AnalyzeText",
        name: "harm",
        ...common,
        action: "Alert",
        failureMode: "Open",
        ...service,
        auth: { type: "SecretFile", file: expect.stringMatching(/\/safety\/key$/) },
        categories: from(4, "Hate", "SelfHarm", "Sexual", "Violence"),
        blocklists: [],
      },
      {
        type: "AnalyzeText",
        name: "violence",
        ...common,
        ...service,
        timeoutMs: 500,
        auth: { type: "SecretFile", file: expect.any(String) },
        categories: from(4, "Violence"),
        blocklists: ["ours"],
      },
      { type: "AzureContentFilter", name: "filter", ...common, phase: "Output" },
      {
        type: "LocalRules",
        name: "out",
        ...common,
        phase: "Output",
        action: "Mask",
        detect: ["Cards"],
        denyWords: [],
        allowWords: [],
      },
    ]);
  });

  it.each(["Input", "Output"])("hand every local rule on, in phase %s", (phase) => {
    const local = { type: "LocalRules", phase, action: "Mask", failureMode: "Open" };
    const given = sampleInput({ guardrails: [{ ...local, name: "local", localRules: LOCAL }] });
    expect(configOf(given).guardrails).toEqual([{ ...local, name: "local", ...LOCAL }]);
    const bare = sampleInput({ guardrails: [{ type: "LocalRules", phase, name: "bare", localRules: {} }] });
    const none = { detect: [], denyWords: [], allowWords: [] };
    expect(configOf(bare).guardrails).toEqual([
      { type: "LocalRules", phase, name: "bare", action: "Reject", failureMode: "Closed", ...none },
    ]);
  });

  it("change no digest of an agent that has none", () => {
    expect(configOf(sampleInput({}))).not.toHaveProperty("guardrails");
  });

  it("may be reached, by the peers that they name, and Entra where it is asked for a token", () => {
    const own = endpointsOf(input.spec).filter(({ field }) => field.startsWith("spec.guardrails"));
    expect(
      own.map(({ field, component, url, egress }) => [field, component, new URL(url).host, egress?.cidrs]),
    ).toEqual([
      ["spec.guardrails[0].contentSafety", "gateway", "safety.example.com", undefined],
      ["spec.guardrails[0].contentSafety.auth", "gateway", "login.microsoftonline.com", undefined],
      ["spec.guardrails[1].contentSafety", "gateway", "safety.example.com", undefined],
      ["spec.guardrails[2].contentSafety", "gateway", "safety.example.com", ["10.0.0.4/32"]],
    ]);
  });

  it("have their keys mounted into the gateway alone", () => {
    expect(secretKeys(input, "gateway").get("safety")).toEqual(["key"]);
    expect(secretKeys(input, "orchestrator").has("safety")).toBe(false);
  });
});
