import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Refusal } from "#core/errors.ts";
import type { CheckResult } from "../check.ts";
import type { OutputGuardrail } from "./output-guardrail.ts";
import type { OutputVerdict } from "./verdict.ts";
import { createWindowGate, type WindowGate } from "./window-gate.ts";

const CLEAN = { kind: "clean" } as const;
const HIT = { kind: "hit", rule: "hate" } as const;
const DOWN = { kind: "failed", reason: "timeout" } as const;

interface GateWorld {
  readonly gate: WindowGate;
  /** What has gone out, in its order. */
  readonly passed: string[];
  readonly refused: Refusal[];
  readonly verdicts: OutputVerdict[];
  /** Texts of each question so far. */
  readonly asked: string[][];
  resumed: number;
  /** Answers the oldest open question. */
  answer(result: CheckResult): Promise<void>;
}

function gateWith(options: Partial<Pick<OutputGuardrail, "action" | "failureMode">> = {}): GateWorld {
  const asked: string[][] = [];
  const open: ((result: CheckResult) => void)[] = [];
  const remote: OutputGuardrail = {
    kind: "remote",
    name: "harm",
    action: "Reject",
    failureMode: "Closed",
    ...options,
    check: (texts) => {
      asked.push([...texts]);
      return new Promise((resolve) => open.push(resolve));
    },
  };
  const verdicts: OutputVerdict[] = [];
  const note = (verdict: OutputVerdict): void => void verdicts.push(verdict);
  const gate = createWindowGate({ guardrails: { list: [remote], hasRemote: true }, shape: "chat", note });
  const world: GateWorld = {
    gate,
    passed: [],
    refused: [],
    verdicts,
    asked,
    resumed: 0,
    async answer(result) {
      open.shift()?.(result);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
  gate.open({
    pass: (events) => world.passed.push(...events.map(String)),
    refuse: (refusal) => world.refused.push(refusal),
    resume: () => (world.resumed += 1),
  });
  return world;
}

/** An event with a text in it. */
function say({ gate }: GateWorld, text: string, more: { key?: string; isComplete?: boolean } = {}): boolean {
  gate.hear(more.key ?? "a", text);
  return gate.take([Buffer.from(text)], more.isComplete === true);
}

describe("a window gate", () => {
  it("lets nothing through before it is judged, all of it in order afterwards, and shows each short piece whole", async () => {
    const event = fc.record({ key: fc.constantFrom("a", "b"), length: fc.nat(900), answers: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 12 }), async (events) => {
        const world = gateWith();
        const texts = { a: "", b: "" };
        const sent: string[] = [];
        const judged = new Set<string>();
        let open = 0;
        const answer = async (): Promise<void> => {
          if (world.asked.length === open) return;
          for (const text of world.asked[open] ?? []) judged.add(text);
          open += 1;
          await world.answer(CLEAN);
        };
        for (const [index, { key, length, answers }] of events.entries()) {
          const text = `${key}${index}-`.repeat(Math.ceil(length / 3)).slice(0, length);
          texts[key === "a" ? "a" : "b"] += text;
          sent.push(text);
          say(world, text, { key, isComplete: index === events.length - 1 });
          const said = world.passed.filter((each) => each !== "");
          for (const each of said) expect([...judged].some((seen) => seen.includes(each))).toBe(true);
          if (answers) await answer();
        }
        while (world.asked.length > open) await answer();
        expect(world.passed).toEqual(sent);
        expect(world.gate.isIdle()).toBe(true);
        for (const whole of [texts.a, texts.b])
          for (let at = 0; at < whole.length; at += 37) {
            const piece = whole.slice(at, at + 200);
            expect([...judged].some((seen) => seen.includes(piece))).toBe(true);
          }
      }),
      { numRuns: 100 },
    );
  });

  it("drops what it holds when somebody says no, and asks no more", async () => {
    const world = gateWith();
    say(world, "x".repeat(900));
    say(world, "later");
    await world.answer(HIT);
    say(world, "more", { isComplete: true });
    expect([world.passed, world.asked.length]).toEqual([[], 1]);
    expect(world.refused.map(({ code }) => code)).toEqual(["content_filter"]);
    world.gate.close();
    world.gate.close();
    expect(world.verdicts).toEqual([{ name: "harm", action: "Reject", result: HIT }]);
  });

  it.each([
    ["Closed", ["guardrail_unavailable"], "FailClosed"],
    ["Open", [], "FailOpen"],
  ] as const)("with failure mode %s refuses %o", async (failureMode, refused, action) => {
    const world = gateWith({ failureMode });
    say(world, "one", { isComplete: true });
    await world.answer(DOWN);
    expect(world.refused.map(({ code }) => code)).toEqual(refused);
    expect(world.passed).toEqual(failureMode === "Open" ? ["one"] : []);
    world.gate.close();
    expect(world.verdicts).toEqual([{ name: "harm", action, result: DOWN }]);
  });

  it("keeps nobody waiting that only watches, but for the end, whose record tells of it", async () => {
    const world = gateWith({ action: "Alert", failureMode: "Open" });
    say(world, "x".repeat(900));
    expect(world.passed).toHaveLength(1);
    say(world, "end", { isComplete: true });
    await world.answer(HIT);
    expect(world.passed).toHaveLength(1);
    await world.answer(CLEAN);
    expect(world.passed.at(-1)).toBe("end");
    world.gate.close();
    expect(world.verdicts).toEqual([{ name: "harm", action: "Alert", result: HIT }]);
  });

  it("makes its upstream wait when it holds much, and wakes it up", async () => {
    const world = gateWith();
    expect(say(world, "x".repeat(900))).toBe(true);
    expect(world.gate.take([Buffer.alloc(300_000)], false)).toBe(false);
    await world.answer(CLEAN);
    expect(world.resumed).toBe(1);
  });

  it("lets events without a text through at once, and those behind a text after it", () => {
    const world = gateWith();
    world.gate.take([Buffer.from("head")], false);
    say(world, "one");
    world.gate.take([Buffer.from("tail")], false);
    expect(world.passed).toEqual(["head"]);
  });

  it("is silent when it is stopped", async () => {
    const world = gateWith();
    say(world, "x".repeat(900));
    world.gate.stop();
    await world.answer(CLEAN);
    expect([world.passed, world.refused, world.gate.isIdle()]).toEqual([[], [], true]);
  });
});
