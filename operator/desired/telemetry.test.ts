import { describe, expect, it } from "vitest";
import { sampleInput } from "../../test/fakes/desired-input.ts";
import { deployments } from "./deployment.ts";
import { endpointsOf } from "./peers.ts";
import { secretKeys } from "./volumes.ts";

const telemetry = {
  endpoint: "http://collector.observability.svc:4318",
  headersSecretRef: { name: "collector", key: "headers" },
  sampledPercent: 25,
};
const input = sampleInput({ telemetry });

/** The environment of each service, as Kubernetes gets it. */
function environments(given: typeof input): string[] {
  return deployments(given).map(({ object }) => JSON.stringify(object));
}

describe("telemetry of a spec", () => {
  it("reaches gateway and orchestrator", () => {
    for (const text of environments(input)) {
      expect(text).toContain(`{"name":"SUPERCARGO_OTLP_ENDPOINT","value":"${telemetry.endpoint}"}`);
      expect(text).toContain('{"name":"SUPERCARGO_TRACE_RATIO","value":"0.25"}');
      expect(text).toMatch(/\{"name":"SUPERCARGO_OTLP_HEADERS_FILE","value":"[^"]+\/collector\/headers"\}/);
    }
  });

  it("is nowhere when it is not asked for", () => {
    for (const text of environments(sampleInput())) expect(text).not.toMatch(/OTLP|TRACE_RATIO/);
  });

  it("may be reached by both, and both have the headers mounted", () => {
    const own = endpointsOf(input.spec).filter(({ field }) => field === "spec.telemetry");
    expect(own.map(({ component, url }) => [component, url])).toEqual([
      ["gateway", telemetry.endpoint],
      ["orchestrator", telemetry.endpoint],
    ]);
    expect(secretKeys(input, "gateway").get("collector")).toEqual(["headers"]);
    expect(secretKeys(input, "orchestrator").get("collector")).toEqual(["headers"]);
  });
});
