import { describe, expect, it } from "vitest";
import { CATALOGUE } from "./catalogues.ts";
import type { SimEvent } from "./events.ts";
import { play } from "./player.ts";
import type { Profile, Setup } from "./setup.ts";

/** Shrunk histories in which the product once broke a law, and what was wrong. */
interface Case {
  readonly name: string;
  readonly profile: Profile;
  readonly switches: Setup["switches"];
  readonly setup?: Partial<Setup>;
  readonly events: readonly SimEvent[];
}

const CYCLE: SimEvent = { kind: "Cycle", leader: 0, at: 0, how: "Crash" };
const ADVANCE: SimEvent = { kind: "Advance", seconds: 70 };
const useAction = (amount: number): SimEvent => ({ kind: "Use", pod: 0, dimension: "tool_action", amount });
const CHANGING: Partial<Setup> = { changesPlan: true, splitBrain: false };
const NOVEMBER = { anchorMs: Date.UTC(2026, 10, 22, 8, 10), startMs: Date.UTC(2026, 10, 22, 8, 10) };
const START_MS = Date.UTC(2027, 1, 10, 6, 20);

const CASES: readonly Case[] = [
  {
    name: "a request lands in the last minutes and the list shows it later: the slot was dead too early",
    profile: "Ordinary",
    switches: { expiryComparedTo: "EndOfHour", listDelaySeconds: 1200 },
    events: [
      { kind: "AddPod", agent: 0 },
      { kind: "Hour", seconds: 100 },
      CYCLE,
      { kind: "Post", fault: "Delay" },
      { kind: "Use", pod: 0, dimension: "tool_action", amount: 6 },
      { kind: "Hour", seconds: 60 },
      CYCLE,
      { kind: "Outage", hours: 24 },
      { kind: "Advance", seconds: 23 * 3600 + 3000 },
      { kind: "Land", index: 0 },
    ],
  },
  {
    name: "a leader stands still between the list and its use: the slot was not yet dead when Azure was asked",
    profile: "Ordinary",
    switches: { expiryComparedTo: "EndOfHour" },
    events: [
      { kind: "AddPod", agent: 0 },
      { kind: "Hour", seconds: 100 },
      CYCLE,
      { kind: "Post", fault: "Delay" },
      { kind: "Use", pod: 0, dimension: "tool_action", amount: 6 },
      { kind: "Hour", seconds: 60 },
      CYCLE,
      { kind: "Advance", seconds: 23 * 3600 + 1800 },
      { kind: "Cycle", leader: 1, at: 7, how: "PauseDone" },
      { kind: "Land", index: 0 },
      { kind: "Advance", seconds: 7200 },
      { kind: "Resume", leader: 1, at: 0, how: "Crash" },
    ],
  },
  {
    name: "a leader settles a pod as it was hours ago, and its usage since then went into the next period",
    profile: "Ordinary",
    switches: {},
    setup: { anchorMs: Date.UTC(2027, 0, 31, 10), startMs: Date.UTC(2027, 2, 31, 6, 20) },
    events: [
      { kind: "AddPod", agent: 0 },
      { kind: "AddPod", agent: 2 },
      CYCLE,
      { kind: "Hour", seconds: 134 },
      { kind: "Cycle", leader: 0, at: 8, how: "Pause" },
      { kind: "Hour", seconds: 128 },
      { kind: "Use", pod: 1, dimension: "workflow_completed", amount: 1 },
      { kind: "Hour", seconds: 96 },
      { kind: "Hour", seconds: 104 },
      { kind: "Use", pod: 0, dimension: "workflow_completed", amount: 10 },
      { kind: "EndPod", pod: 1 },
    ],
  },
  {
    name: "a backup from before the ledger comes back, and the list does not show yet what was posted",
    profile: "Disaster",
    switches: { listDelaySeconds: 3000 },
    events: [
      { kind: "AddPod", agent: 0 },
      { kind: "Backup" },
      useAction(7),
      { kind: "Hour", seconds: 100 },
      CYCLE,
      { kind: "Hour", seconds: 1200 },
      CYCLE,
      { kind: "Restore", versionsFall: false },
      CYCLE,
    ],
  },
  {
    name: "a backup of the day before comes back: what was posted is not listed yet, and its slot cannot be sent again",
    profile: "Disaster",
    switches: { listDelaySeconds: 3000 },
    events: [
      { kind: "AddPod", agent: 0 },
      CYCLE,
      { kind: "Backup" },
      { kind: "Hour", seconds: 140 },
      useAction(7),
      { kind: "Advance", seconds: 84_376 },
      CYCLE,
      { kind: "Restore", versionsFall: true },
    ],
  },
  {
    name: "the API server's clock was behind as Azure answered: by it, an hour between answer and list was none",
    profile: "Ordinary",
    switches: { listDelaySeconds: 3000 },
    events: [
      { kind: "AddPod", agent: 0 },
      CYCLE,
      useAction(3),
      { kind: "Hour", seconds: 60 },
      { kind: "Post", fault: "LoseAnswer" },
      CYCLE,
      { kind: "Hour", seconds: 60 },
      useAction(2),
      { kind: "Skew", seconds: -1200 },
      { kind: "Advance", seconds: 83_640 },
      CYCLE,
    ],
  },
  {
    name: "a node starts again, its pod's counters begin at 0, and its ceilings did not",
    profile: "Ordinary",
    switches: {},
    setup: { planId: "capped" },
    events: [
      { kind: "AddPod", agent: 0 },
      { kind: "Advance", seconds: 10 },
      ...[0, 0, 15, 8, 4].flatMap((amount) => [useAction(amount), ADVANCE, CYCLE]),
      { kind: "Reboot", pod: 0, fileLost: false },
      useAction(8),
      ADVANCE,
      useAction(8),
    ],
  },
  {
    name: "the API server's clock went back behind a boundary, and a pod ended: its use of the new month fell into the old one",
    profile: "Disaster",
    switches: { expiryComparedTo: "EffectiveStartTime" },
    setup: {
      planId: "tiers",
      anchorMs: Date.UTC(2028, 1, 29, 12),
      startMs: Date.UTC(2029, 1, 28, 8, 0, 1),
      ...CHANGING,
    },
    events: [
      { kind: "AddPod", agent: 0 },
      { kind: "AddPod", agent: 2 },
      CYCLE,
      { kind: "Use", pod: 1, dimension: "workflow_completed", amount: 12 },
      { kind: "Skew", seconds: 400 },
      { kind: "Hour", seconds: 133 },
      { kind: "ForceDelete", pod: 0 },
      { kind: "Hour", seconds: 104 },
      { kind: "Hour", seconds: 31 },
      { kind: "Hour", seconds: 164 },
      { kind: "Cycle", leader: 0, at: 0, how: "FailDone" },
      { kind: "Use", pod: 0, dimension: "workflow_completed", amount: 8 },
    ],
  },
  {
    name: "a PodUsage was deleted by hand, and what it had counted was billed again after its slot died: nobody owned it",
    profile: "Disaster",
    switches: { expiryComparedTo: "EndOfHour", listDelaySeconds: 3000, formerPlan: "Refused" },
    setup: { anchorMs: Date.UTC(2026, 10, 22, 23, 58, 57), startMs: Date.UTC(2026, 10, 22, 23, 58, 57), ...CHANGING },
    events: [
      { kind: "AddPod", agent: 1 },
      useAction(7),
      { kind: "Cycle", leader: 0, at: 40, how: "Pause" },
      { kind: "ChangePlan", planId: "gratis" },
      { kind: "Hour", seconds: 67 },
      { kind: "Cycle", leader: 0, at: 34, how: "Delay" },
      { kind: "DeletePodUsage", pod: 0 },
      { kind: "EndPod", pod: 0 },
      { kind: "ChangePlan", planId: "tiers" },
    ],
  },
  {
    name: "a backup from before a plan change comes back: the use that the new plan was paid for was due under the old one too",
    profile: "Disaster",
    switches: { listDelaySeconds: 3000, slotHasPlan: true, formerPlan: "Accepted" },
    setup: { planId: "tiers", lateUsage: "Drop", ...NOVEMBER, ...CHANGING },
    events: [
      { kind: "AddPod", agent: 0 },
      CYCLE,
      { kind: "Backup" },
      { kind: "AddPod", agent: 0 },
      { kind: "Use", pod: 0, dimension: "workflow_completed", amount: 6 },
      { kind: "ChangePlan", planId: "gratis" },
      { kind: "Cycle", leader: 0, at: 0, how: "Pause" },
      { kind: "ChangePlan", planId: "starter" },
      { kind: "Hour", seconds: 6 },
      { kind: "Cycle", leader: 1, at: 0, how: "Delay" },
      { kind: "Use", pod: 0, dimension: "workflow_completed", amount: 22 },
      { kind: "Hour", seconds: 5 },
      { kind: "Cycle", leader: 1, at: 27, how: "Delay" },
      { kind: "Restore", versionsFall: false },
    ],
  },
  {
    name: "a ledger was lost twice: the list lacked what was just answered, and what it showed instead was forgotten",
    profile: "Disaster",
    switches: { listDelaySeconds: 1200, expiryComparedTo: "EndOfHour" },
    setup: { ...NOVEMBER, ...CHANGING },
    events: [
      { kind: "AddPod", agent: 1 },
      { kind: "AddPod", agent: 1 },
      { kind: "Post", fault: "Truncate" },
      { kind: "Post", fault: "Http500" },
      { kind: "Post", fault: "Http500" },
      { kind: "Use", pod: 1, dimension: "tool_action", amount: 6 },
      { kind: "Cut", pod: 0 },
      CYCLE,
      { kind: "Backup" },
      useAction(7),
      { kind: "Hour", seconds: 140 },
      { kind: "Cycle", leader: 0, at: 24, how: "Pause" },
      { kind: "Restore", versionsFall: true },
      { kind: "Uncut", pod: 0 },
      { kind: "Hour", seconds: 65 },
      { kind: "Cycle", leader: 0, at: 0, how: "Fail" },
      { kind: "Hour", seconds: 151 },
      { kind: "Cycle", leader: 0, at: 0, how: "CrashDone" },
      { kind: "DeleteLedger" },
      { kind: "Hour", seconds: 97 },
      { kind: "Cycle", leader: 0, at: 38, how: "Pause" },
    ],
  },
  {
    name: "a backup from before a plan change comes back: it had no account for the fee that Azure's list holds",
    profile: "Disaster",
    switches: {},
    setup: { planId: "tiers", anchorMs: Date.UTC(2027, 0, 31, 10), startMs: Date.UTC(2027, 2, 28, 6, 20), ...CHANGING },
    events: [
      CYCLE,
      { kind: "Hour", seconds: 47 },
      { kind: "Hour", seconds: 142 },
      { kind: "ChangePlan", planId: "hybrid" },
      CYCLE,
      { kind: "Backup" },
      { kind: "Hour", seconds: 73 },
      { kind: "Hour", seconds: 53 },
      { kind: "Hour", seconds: 99 },
      CYCLE,
      { kind: "Advance", seconds: 100_800 },
      { kind: "Restore", versionsFall: true },
    ],
  },
  {
    name: "a slot died on a day's last hour: the list showed it on the day after, in place of what was just answered",
    profile: "Ordinary",
    switches: { expiryComparedTo: "EndOfHour", listDelaySeconds: 3000, listDayOf: "MessageTime" },
    setup: {
      planId: "hybrid",
      anchorMs: Date.UTC(2026, 10, 22, 23, 58, 57),
      startMs: Date.UTC(2026, 10, 22, 23, 58, 57),
      splitBrain: false,
      strict: false,
    },
    events: [
      { kind: "Cycle", leader: 0, at: 0, how: "PauseDone" },
      { kind: "Advance", seconds: 178 },
      { kind: "Hour", seconds: 60 },
      { kind: "Post", fault: "LoseAnswer" },
      { kind: "Cycle", leader: 0, at: 0, how: "Crash" },
      { kind: "Skew", seconds: -3000 },
      { kind: "Advance", seconds: 85_549 },
      { kind: "Hour", seconds: 63 },
      { kind: "Cycle", leader: 0, at: 0, how: "CrashDone" },
    ],
  },
  {
    name: "a backup with a slot that was not sent yet comes back: a new ledger had billed it otherwise since",
    profile: "Disaster",
    switches: { listDelaySeconds: 3000 },
    setup: {
      anchorMs: Date.UTC(2028, 1, 29, 12),
      startMs: Date.UTC(2029, 1, 28, 8, 0, 1),
      changesPlan: true,
      splitBrain: false,
      strict: false,
    },
    events: [
      { kind: "AddPod", agent: 0 },
      { kind: "AddPod", agent: 0 },
      { kind: "Cycle", leader: 0, at: 0, how: "Crash" },
      { kind: "Use", pod: 1, dimension: "tool_action", amount: 2 },
      { kind: "Hour", seconds: 24 },
      { kind: "Cycle", leader: 0, at: 10, how: "PauseDone" },
      { kind: "Backup" },
      { kind: "DeleteLedger" },
      { kind: "Cycle", leader: 0, at: 0, how: "Delay" },
      { kind: "Hour", seconds: 39 },
      { kind: "Cycle", leader: 0, at: 0, how: "Pause" },
      { kind: "Restore", versionsFall: false },
    ],
  },
];

describe("a history that once broke a law", () => {
  it.each(CASES)("$name", async ({ profile, switches, setup: special, events }) => {
    const setup: Setup = {
      profile,
      anchorMs: START_MS,
      startMs: START_MS,
      catalogue: CATALOGUE,
      planId: "starter",
      changesPlan: false,
      switches,
      reconcileRequired: true,
      calm: false,
      lateUsage: "Carry",
      splitBrain: true,
      sidecars: "Fold",
      strict: true,
      ...special,
    };
    const played = await play(setup, events);
    expect(played.violations).toEqual([]);
    expect(played.figures).toMatchObject({ overBilledUnits: 0 });
  });
});
