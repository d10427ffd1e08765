import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Answered,
  type ApprovalWorld,
  callTools,
  createApprovalWorld,
  type Process,
  say,
} from "../../../test/orchestrator/approval-world.ts";

const REFUND = { name: "refund", arguments: { order: "A-1", cents: 4200 } };

let world: ApprovalWorld;
let process: Process;
beforeEach(() => {
  world = createApprovalWorld();
  process = world.boot();
});
afterEach(() => {
  process.end();
  world.remove();
});

async function ask(): Promise<Answered> {
  world.script = [callTools(REFUND)];
  return process.respond({ input: "Refund A-1" });
}

async function goOn(previous: Answered, input: unknown = []): Promise<Answered> {
  return process.respond({ input, previous_response_id: previous.id });
}

/** Waits for the runs that a process has taken over. */
async function settle({ journal, runs }: Process): Promise<void> {
  for (const { id } of journal.unfinished()) await runs.find(id)?.done;
}

function typesOf({ output }: Answered): string[] {
  return output.map((item) => item.type);
}

/** The one object that people were asked with last. */
function asked(): string {
  return [...world.people.asked.keys()].at(-1) ?? "";
}

async function metric(name: string, outcome?: string): Promise<number | undefined> {
  const found = await process.registry.getSingleMetric(name)?.get();
  return found?.values.find(({ labels }) => outcome === undefined || labels["outcome"] === outcome)?.value;
}

describe("a call of lane Approval", () => {
  it("waits: the response is complete, the question its last item, nothing called and no workflow counted", async () => {
    const first = await ask();
    expect(first.status).toBe("completed");
    expect(first.output).toEqual([
      {
        id: `mcpr_${asked().slice("desk-".length)}`,
        type: "mcp_approval_request",
        server_label: "orders",
        name: "refund",
        arguments: '{"order":"A-1","cents":4200}',
      },
    ]);
    expect(world.people.asked.get(asked())).toMatchObject({
      rule: "lane_approval",
      actingFor: "alice",
      reasonRequired: "OnDeny",
      expiresAtMs: world.clock.now() + 600_000,
      question: {
        agentDeployment: "desk",
        agentGeneration: "1",
        runId: first.id,
        arguments: '{"cents":4200,"order":"A-1"}',
      },
    });
    expect(world.effects).toEqual([]);
    expect([process.total("workflow_completed"), process.total("tool_action")]).toEqual([0n, 0n]);
    expect(await metric("supercargo_orchestrator_approvals_waiting")).toBe(1);
  });

  it("shows the same question again until somebody decides", async () => {
    const first = await ask();
    const second = await goOn(first);
    const third = await goOn(second, "Well?");
    expect([second.output, third.output]).toEqual([first.output, first.output]);
    expect(world.people.asked.size).toBe(1);
    world.people.decide(asked(), "Approve");
    expect(typesOf(await goOn(third))).toEqual(["mcp_call", "message"]);
    expect(world.effects).toHaveLength(1);
  });

  it("is made once it is approved, and the run goes on; one workflow, one action", async () => {
    const first = await ask();
    world.people.decide(asked(), "Approve");
    const second = await goOn(first);
    expect(second.output[0]).toMatchObject({
      type: "mcp_call",
      status: "completed",
      approval_request_id: first.output[0]?.id,
      output: "refund done 1",
    });
    expect(world.effects).toEqual([REFUND.arguments]);
    expect(world.shown.at(-1)).toContain("refund done 1");
    expect([process.total("workflow_completed"), process.total("tool_action")]).toEqual([1n, 1n]);
    expect(await metric("supercargo_orchestrator_approvals_total", "approved")).toBe(1);
    expect(await metric("supercargo_orchestrator_approvals_waiting")).toBe(0);
  });

  it("leaves in the audit who asked, who decided and with which object", async () => {
    const first = await ask();
    world.people.decide(asked(), "Approve");
    await goOn(first);
    const lines = world.logged.filter((line) => line["audit"] === true);
    expect(lines.map((line) => line["outcome"])).toEqual(["Waiting", "Started", "Done"]);
    expect(lines[2]).toMatchObject({
      actingFor: "alice",
      lane: "Approval",
      rule: "lane_approval",
      approval: { name: asked(), uid: `uid-${asked()}`, decidedBy: "ann@example.com" },
    });
    expect(JSON.stringify(world.logged)).not.toContain("4200");
  });

  it("is not made when a person refuses, and the model reads why", async () => {
    const first = await ask();
    world.people.decide(asked(), "Deny", "too much money");
    const second = await goOn(first);
    expect(typesOf(second)).toEqual(["mcp_call", "message"]);
    expect(world.shown.at(-1)).toContain("Refused (approval_denied): A person refused the call: too much money");
    expect(world.effects).toEqual([]);
  });

  it("is refused when nobody decides in time", async () => {
    const first = await ask();
    await world.clock.advance(600_000);
    await goOn(first);
    expect(world.shown.at(-1)).toContain("Refused (approval_timed_out)");
    expect(await metric("supercargo_orchestrator_approvals_total", "timed_out")).toBe(1);
  });

  it("is refused when the question was deleted", async () => {
    const first = await ask();
    world.people.views.clear();
    await goOn(first);
    expect(world.shown.at(-1)).toContain(
      "Refused (approval_denied): A person refused the call: The request for approval was withdrawn",
    );
  });

  it("is refused where nobody can be asked, or could come back for the answer", async () => {
    world.people.isAway = true;
    await ask();
    expect(world.shown.at(-1)).toContain("Refused (approval_unavailable)");
    world.people.isAway = false;
    world.script = [callTools(REFUND)];
    await process.respond({ input: "Refund", store: false });
    expect(world.shown.at(-1)).toContain("needs a response with store true");
    expect(world.people.asked.size).toBe(0);
  });

  it("is refused with arguments that are too long to be shown to anybody", async () => {
    world.script = [callTools({ name: "refund", arguments: { why: "x".repeat(16_384) } })];
    await process.respond({ input: "Refund" });
    expect(world.shown.at(-1)).toContain(
      "Refused (invalid_arguments): The arguments of a call that a person must approve",
    );
    expect(world.people.asked.size).toBe(0);
  });

  it("goes on waiting while the answer cannot be read", async () => {
    const first = await ask();
    world.people.decide(asked(), "Approve");
    world.people.isAway = true;
    expect((await goOn(first)).output).toEqual(first.output);
    world.people.isAway = false;
    expect(typesOf(await goOn(first))).toEqual(["mcp_call", "message"]);
  });
});

describe("what was approved", () => {
  it.each<[string, () => void]>([
    ["a new generation", () => (world.config = { ...world.config, generation: 2 })],
    [
      "another address of the tool",
      () =>
        (world.config = {
          ...world.config,
          tools: world.config.tools.map((tool) => ({ ...tool, url: "http://other" })),
        }),
    ],
  ])("is asked anew after %s", async (_what, change) => {
    const first = await ask();
    const before = asked();
    world.people.decide(before, "Approve");
    change();
    const second = await goOn(first);
    expect(typesOf(second)).toEqual(["mcp_approval_request"]);
    expect(second.output[0]?.id).not.toBe(first.output[0]?.id);
    expect(asked()).not.toBe(before);
    expect(world.effects).toEqual([]);
    world.people.decide(asked(), "Approve");
    await goOn(second);
    expect(world.effects).toHaveLength(1);
    // Whoever goes on from the first response once more finds the answer used, under whatever name.
    await goOn(first);
    expect(world.effects).toHaveLength(1);
  });

  it("is not made under a stricter policy", async () => {
    const first = await ask();
    world.people.decide(asked(), "Approve");
    const [tool] = world.config.tools;
    if (!tool) throw new Error("There must be a tool");
    const functions = tool.functions.map((item) => ({ ...item, lane: "Never" as const }));
    world.config = { ...world.config, tools: [{ ...tool, functions }] };
    await goOn(first);
    expect(world.shown.at(-1)).toContain("Refused (tool_forbidden)");
    world.config = { ...world.config, tools: [tool] };
    world.control = { ...world.control, entitlement: { ...world.control.entitlement, state: "Suspended" } };
    await goOn(first);
    expect(world.shown.at(-1)).toContain("Refused (not_entitled)");
    expect(world.effects).toEqual([]);
  });

  it("is not made when the agent loses its right to act while the answer is read", async () => {
    const first = await ask();
    world.people.decide(asked(), "Approve");
    world.step = (place) => {
      if (place === "before read") world.control = { ...world.control, mode: "Revoked" };
    };
    await goOn(first);
    expect(world.shown.at(-1)).toContain("Refused (not_entitled)");
    expect(world.effects).toEqual([]);
  });

  it("is made once however many go on from it, at the same time or later", async () => {
    const first = await ask();
    world.people.decide(asked(), "Approve");
    const all = await Promise.all([goOn(first), goOn(first), goOn(first)]);
    const later = await goOn(first);
    expect(world.effects).toHaveLength(1);
    expect(later.output[0]).toMatchObject({ type: "mcp_call", output: "refund done 1" });
    const results = all.map(({ output }) => JSON.stringify(output[0]));
    expect(results.filter((text) => text.includes("refund done 1")).length).toBeGreaterThanOrEqual(1);
    expect(process.total("tool_action")).toBe(1n);
  });

  it("is spent by a call of which nobody knows whether it left", async () => {
    const first = await ask();
    world.people.decide(asked(), "Approve");
    world.step = (place) => {
      if (place === "after startCall") throw new Error("killed");
    };
    await goOn(first).catch(() => undefined);
    world.step = () => undefined;
    process.end();
    process = world.boot();
    process.runs.recover();
    await settle(process);
    const later = await goOn(first);
    expect(JSON.stringify(later.output[0])).toContain("effect unverified");
    expect(world.effects).toEqual([]);
  });
});

describe("several calls of one turn", () => {
  it("are decided alone; what waits stands last, and the run goes on when all are decided", async () => {
    world.script = [
      callTools(
        { name: "refund", arguments: { order: "A" } },
        { name: "look", arguments: {} },
        { name: "refund", arguments: { order: "B" } },
      ),
    ];
    const first = await process.respond({ input: "x" });
    expect(typesOf(first)).toEqual(["mcp_call", "mcp_approval_request", "mcp_approval_request"]);
    const [a = "", b = ""] = [...world.people.asked.keys()];
    world.people.decide(b, "Approve");
    const second = await goOn(first);
    expect(typesOf(second)).toEqual(["mcp_call", "mcp_approval_request"]);
    expect(world.effects).toEqual([{}, { order: "B" }]);
    world.people.decide(a, "Deny");
    const third = await goOn(second);
    expect(typesOf(third)).toEqual(["mcp_call", "message"]);
    expect(world.effects).toHaveLength(2);
    expect(world.shown).toHaveLength(2);
    const last = world.shown.at(-1) ?? "";
    expect([last.includes("look done 1"), last.includes("refund done 2"), last.includes("approval_denied")]).toEqual([
      true,
      true,
      true,
    ]);
    expect(process.total("workflow_completed")).toBe(1n);
  });
});

describe("mode Constrained and limits", () => {
  it("turn Automatic to Approval, at once", async () => {
    world.control = { ...world.control, mode: "Constrained" };
    world.script = [callTools({ name: "look", arguments: {} })];
    const first = await process.respond({ input: "x" });
    expect(world.people.asked.get(asked())).toMatchObject({ rule: "mode_constrained" });
    // A call that waits runs by an approval alone, even when the mode that asked has ended.
    world.control = { ...world.control, mode: "Running" };
    expect(typesOf(await goOn(first))).toEqual(["mcp_approval_request"]);
    world.people.decide(asked(), "Approve");
    expect(typesOf(await goOn(first))).toEqual(["mcp_call", "message"]);
  });

  it("ask above a limit that turns to Approval, though the next response counts anew", async () => {
    const [tool] = world.config.tools;
    if (!tool) throw new Error("There must be a tool");
    const functions = [
      { name: "look", lane: "Automatic", callsPerRun: 1, overLimit: "Approval", retry: "Unsafe" },
    ] as const;
    world.config = { ...world.config, tools: [{ ...tool, functions: [...functions] }] };
    const look = { name: "look", arguments: {} };
    world.script = [callTools(look, look)];
    const first = await process.respond({ input: "x" });
    expect(typesOf(first)).toEqual(["mcp_call", "mcp_approval_request"]);
    expect(typesOf(await goOn(first))).toEqual(["mcp_approval_request"]);
    expect(world.effects).toHaveLength(1);
  });
});

/** Lets the process die at its nth place, and life go on: a new process, a person who approves, a client that comes back. */
async function storyWithCrash(at: number): Promise<{ readonly died: string; readonly last: Answered }> {
  let places = 0;
  let died = "";
  world.step = (place) => {
    places += 1;
    if (places !== at) return;
    died = place;
    throw new Error("killed");
  };
  let requests = 0;
  const survive = async (request: object): Promise<Answered> => {
    requests += 1;
    const key = `request-${requests}`;
    try {
      return await process.respond(request, key);
    } catch {
      process.end();
      process = world.boot();
      process.runs.recover();
      await settle(process);
      // The client comes back with its key: to what it began, if anything was begun.
      const run = process.journal.runByKey("alice", key);
      return run
        ? { id: run.id, status: run.status, output: process.journal.output(run.id) }
        : process.respond(request, key);
    }
  };
  world.model = (shown) => (shown.includes('"role":"tool"') ? say("Refunded.") : callTools(REFUND));
  let answer = await survive({ input: "Refund" });
  for (let turn = 0; turn < 6 && answer.output.at(-1)?.type !== "message"; turn += 1) {
    for (const [name, view] of world.people.views) if (!view.decision) world.people.decide(name, "Approve");
    answer = await survive({ input: [], previous_response_id: answer.id });
  }
  return { died, last: answer };
}

describe("kill -9 at every place", () => {
  it("never makes an approved call twice, and never loses one that was not begun", async () => {
    const seen = new Set<string>();
    for (let at = 1; ; at += 1) {
      process.end();
      world.remove();
      world = createApprovalWorld();
      process = world.boot();
      const { died, last } = await storyWithCrash(at);
      if (died === "") break;
      seen.add(died);
      const isUnknown = world.shown.some((text) => text.includes("effect unverified"));
      expect([died, world.effects.length <= 1]).toEqual([died, true]);
      if (!isUnknown) expect([died, world.effects.length]).toEqual([died, 1]);
      expect([died, last.output.at(-1)?.type]).toEqual([died, "message"]);
      expect([died, process.total("workflow_completed"), process.total("tool_action")]).toEqual([died, 1n, 1n]);
    }
    expect(seen.size).toBeGreaterThan(14);
  });
});
