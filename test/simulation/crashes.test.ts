import { describe, expect, it } from "vitest";
import { CATALOGUE } from "./catalogues.ts";
import type { PostFault, SimEvent } from "./events.ts";
import type { Stop } from "./gate.ts";
import { play } from "./player.ts";
import type { Setup } from "./setup.ts";

const START_MS = Date.UTC(2027, 1, 10, 6, 20);
const SETUP: Setup = {
  profile: "Ordinary",
  anchorMs: START_MS,
  startMs: START_MS,
  catalogue: CATALOGUE,
  planId: "tiers",
  switches: {},
  reconcileRequired: true,
  changesPlan: false,
  calm: false,
  lateUsage: "Carry",
  splitBrain: true,
  sidecars: "Fold",
  strict: false,
};

const cycle = (at = 0, how: Stop = "Crash", leader = 0): SimEvent => ({ kind: "Cycle", leader, at, how });
const use = (pod: number, dimension: string, amount: number): SimEvent => ({ kind: "Use", pod, dimension, amount });

/** A cycle that does all there is: it finishes an open slot, closes an hour, posts, settles a pod and deletes its object. */
function busyHistory(stop: SimEvent, fault: PostFault): SimEvent[] {
  return [
    { kind: "AddPod", agent: 0 },
    { kind: "AddPod", agent: 1 },
    { kind: "Hour", seconds: 60 },
    cycle(),
    use(0, "tool_action", 5),
    use(1, "input_tokens", 3700),
    { kind: "Post", fault: "LoseAnswer" },
    { kind: "Hour", seconds: 60 },
    cycle(),
    use(0, "workflow_completed", 11),
    use(1, "workflow_completed", 9),
    use(1, "tool_action", 2),
    { kind: "Advance", seconds: 120 },
    { kind: "EndPod", pod: 1 },
    { kind: "Hour", seconds: 60 },
    { kind: "Post", fault },
    stop,
    // Another leader goes on; whoever stood still comes back an hour later, and what was under way arrives.
    cycle(0, "Crash", 1),
    use(0, "tool_action", 1),
    { kind: "Hour", seconds: 60 },
    cycle(0, "Crash", 1),
    { kind: "Resume", leader: 0, at: 0, how: "Crash" },
    { kind: "Land", index: 0 },
  ];
}

/** More than a cycle has. */
const CALLS = 70;
const STOPS: readonly Stop[] = ["Crash", "CrashDone", "Fail", "FailDone", "Delay", "Pause", "PauseDone"];

describe("I11 and I12: a stop at every call of a reporter's cycle, one after the other", () => {
  it.each(STOPS)("%s breaks no law, and in the end accepted is what is due", { timeout: 120_000 }, async (how) => {
    for (const fault of ["Shuffle", "LoseAnswer", "Delay"] as const)
      for (let at = 1; at <= CALLS; at += 1) {
        const { violations } = await play(SETUP, busyHistory(cycle(at, how), fault));
        expect({ fault, at, violations }).toEqual({ fault, at, violations: [] });
      }
  });
});
