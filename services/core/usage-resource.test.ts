import { describe, expect, it } from "vitest";
import type { Statement } from "./api/usage-statement.ts";
import { newLedger } from "./ledger.ts";
import { isRecreated, learnUsageResource, ownUsageResources } from "./usage-resource.ts";

const empty = newLedger({
  offerResourceId: "/subscriptions/s/app",
  mode: "Marketplace",
  planId: "starter",
  catalogueDigest: "d",
  nowMs: 0,
  term: 1,
});
const first = learnUsageResource(empty, "GUID-1");
const second = learnUsageResource(first, "guid-2");

describe("learnUsageResource()", () => {
  it("keeps the GUID of before when the extension was made again", () => {
    expect(second).toMatchObject({ usageResourceId: "guid-2", formerUsageResourceIds: ["GUID-1"] });
  });

  it.each([undefined, "guid-1", "GUID-2"])("changes nothing for %s, which it knows", (id) => {
    expect(learnUsageResource(second, id)).toBe(second);
  });

  it("remembers eight of before, the newest", () => {
    const many = Array.from({ length: 12 }, (_, index) => `id-${index}`).reduce(learnUsageResource, empty);
    expect(many.usageResourceId).toBe("id-11");
    expect(many.formerUsageResourceIds).toEqual(["id-3", "id-4", "id-5", "id-6", "id-7", "id-8", "id-9", "id-10"]);
  });
});

describe("ownUsageResources()", () => {
  it.each([
    ["nothing known, one listed: ours", empty, ["G"], false, ["g"]],
    ["nothing known, two listed: unclear", empty, ["G", "h"], false, undefined],
    ["known: strangers are others'", first, ["GUID-1", "h"], false, ["guid-1"]],
    ["made again, its new GUID not yet named: the one stranger is ours", first, ["GUID-1", "h"], true, ["guid-1", "h"]],
    ["made again, two strangers: unclear", first, ["GUID-1", "h", "i"], true, undefined],
    ["made again and named: both", second, ["GUID-1", "guid-2", "h"], false, ["guid-1", "guid-2"]],
  ] as const)("%s", (...[, ledger, listed, recreated, wanted]) => {
    const own = ownUsageResources(ledger, listed, { isRecreated: recreated });
    expect(own && [...own].sort()).toEqual(wanted);
  });
});

describe("isRecreated()", () => {
  const refusedAt = (at: string): Statement["attempts"] => {
    const attempt = { at, requestId: "r", httpStatus: 200, status: "BadArgument", message: "Invalid usage state. (x)" };
    return { count: 9, first: [attempt], last: [] };
  };
  const quiet: Statement["attempts"] = { count: 0, first: [], last: [] };
  const statement = (attempts: Statement["attempts"], namedAt?: string): Statement => ({
    intent: {
      offerResourceId: "o",
      hour: "2026112500",
      effectiveStartTime: "2026-11-25T00:00:00.000Z",
      dimension: "a",
      planId: "starter",
      quantity: "1",
      unit: "u",
      divisor: "1",
      baseUnits: "1",
      agents: "-",
      catalogueDigest: "d",
      shares: [],
    },
    state: "Retrying",
    attempts,
    ...(namedAt === undefined
      ? {}
      : {
          outcome: {
            state: "Accepted" as const,
            acceptedQuantity: "1",
            acceptedBaseUnits: "1",
            adjustmentBaseUnits: "0",
            usageResourceId: "g",
            resolvedBy: "Answer" as const,
            at: namedAt,
          },
        }),
  });
  const early = "2026-11-25T01:00:00.000Z";
  const late = "2026-11-25T02:00:00.000Z";

  it.each([
    ["never refused", [statement(quiet, early)], false],
    ["refused, and no answer since", [statement(quiet, early), statement(refusedAt(late))], true],
    ["refused, then accepted under a GUID", [statement(refusedAt(early), late)], false],
    ["nothing at all", [], false],
  ] as const)("%s", (...[, statements, wanted]) => {
    expect(isRecreated(statements)).toBe(wanted);
  });
});
