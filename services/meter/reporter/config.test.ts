import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ConfigError } from "#runtime/config.ts";
import { readEnvironment, readTerms } from "./config.ts";

const EMULATED = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/extensions/a";
const REAL = EMULATED.replace("00000000-0000-0000-0000-000000000000", "6791bfbb-5494-4eca-ae6f-e60a7c01077c");
const pod = { SUPERCARGO_POD_NAME: "r-0", SUPERCARGO_POD_NAMESPACE: "supercargo" };
const offer = { SUPERCARGO_CLIENT_ID: "c", SUPERCARGO_PLAN_ID: "starter", SUPERCARGO_OFFER_RESOURCE_ID: REAL };
const catalogue = readFileSync("charts/supercargo/files/catalogue.yaml", "utf8");

function problems(env: Record<string, string>): readonly string[] {
  try {
    readEnvironment({ ...pod, ...env });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

describe("readEnvironment()", () => {
  it.each([
    ["nothing", {}],
    [
      "what the chart leaves in a plain install",
      { SUPERCARGO_CLIENT_ID: "DONOTMODIFY", SUPERCARGO_PLAN_ID: "", SUPERCARGO_OFFER_RESOURCE_ID: "DONOTMODIFY" },
    ],
    ["all three values", offer],
    [
      "a moved clock of the emulator",
      { ...offer, SUPERCARGO_OFFER_RESOURCE_ID: EMULATED, SUPERCARGO_CLOCK_URL: "http://e:8081/control/clock" },
    ],
    ["an empty clock", { ...offer, SUPERCARGO_CLOCK_URL: "" }],
  ])("takes %s", (_what, env) => {
    expect(problems(env)).toEqual([]);
  });

  it("refuses a mixture and names what is missing", () => {
    expect(problems({ SUPERCARGO_PLAN_ID: "starter", SUPERCARGO_CLIENT_ID: "DONOTMODIFY" })).toEqual([
      "SUPERCARGO_CLIENT_ID: must be set, as identity, plan and resource id are either all set (Marketplace) or all empty or DONOTMODIFY (plain): current value is empty",
      "SUPERCARGO_OFFER_RESOURCE_ID: must be set, as identity, plan and resource id are either all set (Marketplace) or all empty or DONOTMODIFY (plain): current value is empty",
    ]);
  });

  it.each([
    ["a real subscription", offer, REAL],
    ["no subscription", {}, "empty"],
  ])("refuses a moved clock with %s and says why", (_what, env, current) => {
    expect(problems({ ...env, SUPERCARGO_CLOCK_URL: "http://e/clock" })).toEqual([
      `SUPERCARGO_CLOCK_URL: must be empty unless the resource id has the subscription 00000000-0000-0000-0000-000000000000, as a moved clock would bill hours that have not been: current resource id is ${current}`,
    ]);
  });

  it("refuses workload identity beside the extension's identity", () => {
    expect(problems({ ...offer, AZURE_FEDERATED_TOKEN_FILE: "/var/token" })).toEqual([
      "AZURE_FEDERATED_TOKEN_FILE: must not be set, as workload identity would replace the extension's identity that posts usage: current value is /var/token",
    ]);
  });
});

describe("readTerms()", () => {
  const terms = (env: Record<string, string>, text = catalogue): ReturnType<typeof readTerms> =>
    readTerms(readEnvironment({ ...pod, ...env }), text);

  it.each([
    ["plain", {}, "Plain", "plain"],
    ["a metered plan", offer, "Marketplace", REAL],
    ["a plan that the catalogue does not know", { ...offer, SUPERCARGO_PLAN_ID: "gold" }, "Silent", REAL],
  ])("%s", (_what, env, ...[mode, offerResourceId]) => {
    expect(terms(env)).toMatchObject({ mode, offerResourceId });
  });

  it.each(["Predefined", "BYOL", "Free"])("is silent for a plan whose billing is %s", (billing) => {
    // The first plan of the file is starter.
    expect(terms(offer, catalogue.replace("billing: Custom", `billing: ${billing}`)).mode).toBe("Silent");
  });

  it("stops a start for a typo in the catalogue, with the place", () => {
    expect(() => terms(offer, catalogue.replace("{ id: tool_action }", "{ id: tool_acton }"))).toThrow(
      /plans\.0\.dimensions\.1\.id: must be one of dimensions .*current value is "tool_acton"/,
    );
  });
});
