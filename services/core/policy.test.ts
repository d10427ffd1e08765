import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toAuditRecord } from "./audit.ts";
import { type ActionFacts, decideAction, type ToolRule } from "./policy.ts";

const tool: ToolRule = { server: "orders", name: "refund_order", lane: "Automatic", overLimit: "Never" };
const facts: ActionFacts = {
  tool,
  definition: "Pinned",
  argumentsProblem: undefined,
  callsInRun: 0,
  callsInHour: 0,
  mode: "Running",
  toolCallsUsed: 0,
  toolCallsMax: undefined,
  entitled: true,
  inPlan: true,
  spent: undefined,
};

describe("decideAction", () => {
  it("calls a listed function in lane Automatic", () => {
    expect(decideAction(facts)).toEqual({
      effect: "Call",
      lane: "Automatic",
      rule: "lane_automatic",
      reason: "Automatic within its limits",
    });
  });

  it.each([
    ["a function that is not listed", { tool: undefined }, "tool_known", "unknown_tool"],
    ["a changed definition", { definition: "Changed" }, "definition_pinned", "definition_changed"],
    ["a vanished definition", { definition: "Missing" }, "definition_pinned", "unknown_tool"],
    ["bad arguments", { argumentsProblem: "order_id is required" }, "arguments_valid", "invalid_arguments"],
    ["lane Never", { tool: { ...tool, lane: "Never" } }, "lane_never", "tool_forbidden"],
    ["the run's limit", { tool: { ...tool, callsPerRun: 1 }, callsInRun: 1 }, "calls_per_run", "over_limit"],
    ["a limit of zero", { tool: { ...tool, callsPerRun: 0 } }, "calls_per_run", "over_limit"],
    ["the hour's limit", { tool: { ...tool, callsPerHour: 3 }, callsInHour: 3 }, "calls_per_hour", "over_limit"],
    ["the run's budget", { toolCallsUsed: 2, toolCallsMax: 2 }, "budget_tool_calls", "budget_exhausted"],
    ["mode Revoked", { mode: "Revoked" }, "entitlement", "not_entitled"],
    ["a grant that has run out", { entitled: false }, "entitlement", "not_entitled"],
    ["a tool that the plan does not allow", { inPlan: false }, "plan_tools", "not_entitled"],
    ["the plan's hard limit", { spent: "documents_analyzed" }, "hard_limit", "hard_limit_reached"],
  ] as const)("refuses %s", (...[, change, rule, code]) => {
    expect(decideAction({ ...facts, ...change })).toMatchObject({ effect: "Refuse", rule, code });
  });

  it.each([
    ["lane Approval", { tool: { ...tool, lane: "Approval" } }, "lane_approval"],
    [
      "a limit of the run that turns to Approval",
      { tool: { ...tool, callsPerRun: 1, overLimit: "Approval" }, callsInRun: 1 },
      "calls_per_run",
    ],
    [
      "a limit of the hour that turns to Approval",
      { tool: { ...tool, callsPerHour: 0, overLimit: "Approval" } },
      "calls_per_hour",
    ],
    ["mode Constrained", { mode: "Constrained" }, "mode_constrained"],
  ] as const)("asks a person for %s", (...[, change, rule]) => {
    expect(decideAction({ ...facts, ...change })).toMatchObject({ effect: "Ask", rule });
  });

  it.each([
    ["a spent budget", { toolCallsUsed: 1, toolCallsMax: 1 }, "budget_tool_calls"],
    ["a grant that has run out", { entitled: false }, "entitlement"],
    ["a plan without the tool", { inPlan: false }, "plan_tools"],
    ["a hard limit", { spent: "tool_action" }, "hard_limit"],
    ["a limit that turns to Never", { tool: { ...tool, lane: "Approval", callsPerRun: 0 } }, "calls_per_run"],
  ] as const)("asks nobody for what is refused by %s", (...[, change, rule]) => {
    const asked = { ...facts, tool: { ...tool, lane: "Approval" }, mode: "Constrained" } as const;
    expect(decideAction({ ...asked, ...change })).toMatchObject({ effect: "Refuse", rule });
  });

  it("lets a run that had begun finish while the agent is Paused", () => {
    expect(decideAction({ ...facts, mode: "Paused" }).effect).toBe("Call");
  });

  it("looks at definition and arguments before the lane", () => {
    const never = { ...tool, lane: "Never" } as const;
    expect(decideAction({ ...facts, tool: never, definition: "Changed" }).rule).toBe("definition_pinned");
    expect(decideAction({ ...facts, tool: never, argumentsProblem: "x" }).rule).toBe("arguments_valid");
  });
});

const limit = fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined });
const anyTool: fc.Arbitrary<ToolRule> = fc.record({
  server: fc.constant("orders"),
  name: fc.constant("f"),
  lane: fc.constantFrom("Automatic", "Approval", "Never"),
  callsPerRun: limit,
  callsPerHour: limit,
  overLimit: fc.constantFrom("Approval", "Never"),
});
const anyFacts: fc.Arbitrary<ActionFacts> = fc.record({
  tool: fc.option(anyTool, { nil: undefined }),
  definition: fc.constantFrom("Pinned", "Changed", "Missing"),
  argumentsProblem: fc.option(fc.string(), { nil: undefined }),
  callsInRun: fc.nat(6),
  callsInHour: fc.nat(6),
  mode: fc.constantFrom("Running", "Constrained", "Paused", "Revoked"),
  toolCallsUsed: fc.nat(6),
  toolCallsMax: limit,
  entitled: fc.boolean(),
  inPlan: fc.boolean(),
  spent: fc.option(fc.constant("tool_action"), { nil: undefined }),
});

describe("decideAction, laws", () => {
  it("has no path over a hard limit to a call", () => {
    fc.assert(
      fc.property(anyFacts, (any) => {
        expect(decideAction({ ...any, spent: "tool_action" }).effect).toBe("Refuse");
      }),
    );
  });

  it("has no path from Never, Approval or an unlisted function to a call", () => {
    fc.assert(
      fc.property(anyFacts, (any) => {
        fc.pre(any.tool?.lane !== "Automatic");
        expect(decideAction(any).effect).not.toBe("Call");
        if (any.tool?.lane !== "Approval") expect(decideAction(any).effect).toBe("Refuse");
      }),
      { numRuns: 5000 },
    );
  });

  it("calls only what is pinned, well formed, within every limit and entitled", () => {
    fc.assert(
      fc.property(anyFacts, (any) => {
        if (decideAction(any).effect !== "Call") return;
        expect(any.definition).toBe("Pinned");
        expect(any.argumentsProblem).toBeUndefined();
        expect(any.entitled).toBe(true);
        expect(any.inPlan).toBe(true);
        expect(["Running", "Paused"]).toContain(any.mode);
        expect(any.callsInRun).toBeLessThan(any.tool?.callsPerRun ?? Infinity);
        expect(any.callsInHour).toBeLessThan(any.tool?.callsPerHour ?? Infinity);
        expect(any.toolCallsUsed).toBeLessThan(any.toolCallsMax ?? Infinity);
      }),
      { numRuns: 2000 },
    );
  });

  it("asks only for what is pinned, well formed, entitled and within its budget", () => {
    fc.assert(
      fc.property(anyFacts, (any) => {
        if (decideAction(any).effect !== "Ask") return;
        expect(any.definition).toBe("Pinned");
        expect(any.argumentsProblem).toBeUndefined();
        expect(any.entitled && any.inPlan && any.spent === undefined).toBe(true);
        expect(any.toolCallsUsed).toBeLessThan(any.toolCallsMax ?? Infinity);
      }),
      { numRuns: 2000 },
    );
  });

  it("never turns a refusal into a call when one more call has been made", () => {
    fc.assert(
      fc.property(anyFacts, (any) => {
        fc.pre(decideAction(any).effect === "Refuse");
        const later = {
          ...any,
          callsInRun: any.callsInRun + 1,
          callsInHour: any.callsInHour + 1,
          toolCallsUsed: any.toolCallsUsed + 1,
        };
        expect(decideAction(later).effect).toBe("Refuse");
      }),
    );
  });
});

describe("toAuditRecord", () => {
  const subject = {
    who: "system:serviceaccount:a:b",
    actingFor: "alice",
    agent: "a/desk",
    generation: 3,
    run: "resp_1",
    call: "call_1",
    tool: "orders/refund_order",
    argumentsDigest: "00",
    planId: "pro",
  };

  it("says how an allowed call ended", () => {
    expect(toAuditRecord(subject, decideAction(facts), "Unknown")).toEqual({
      audit: true,
      ...subject,
      lane: "Automatic",
      rule: "lane_automatic",
      code: "",
      outcome: "Unknown",
    });
  });

  it("never claims that a refused call was made", () => {
    const refused = decideAction({ ...facts, entitled: false });
    expect(toAuditRecord(subject, refused, "Done")).toMatchObject({ code: "not_entitled", outcome: "Refused" });
  });
});
