import { describe, expect, it } from "vitest";
import { z } from "zod";
import { gatewayConfigSchema } from "#core/api/pod-config.ts";
import { sampleInput } from "../../test/fakes/desired-input.ts";
import { renderConfig } from "./config-map.ts";

const auth = { apiKeys: [] };
const rateLimits = [
  { name: "key", per: "Key", requestsPerMinute: 600 },
  { name: "tenant", per: "Tenant", tokensPerMinute: 1000, mode: "Shadow" },
];

function configOf(spec: Readonly<Record<string, unknown>>) {
  const { data } = z
    .object({ data: z.record(z.string(), z.string()) })
    .parse(renderConfig(sampleInput(spec)).object.object);
  return gatewayConfigSchema.parse(JSON.parse(data["gateway.json"] ?? ""));
}

describe("rate limits of a spec", () => {
  it("reach the gateway with what is the default, and with the pods that share them", () => {
    const config = configOf({ exposure: { auth, rateLimits }, gateway: { replicas: 3 } });
    expect(config.pods).toBe(3);
    expect(config.rateLimits).toEqual([
      { name: "key", per: "Key", requestsPerMinute: 600, mode: "Enforce" },
      { name: "tenant", per: "Tenant", tokensPerMinute: 1000, mode: "Shadow" },
    ]);
  });

  it("leave no trace where there are none", () => {
    const config = configOf({ exposure: { auth }, gateway: { replicas: 1 } });
    expect(config).not.toHaveProperty("rateLimits");
    expect(config).not.toHaveProperty("pods");
  });
});
