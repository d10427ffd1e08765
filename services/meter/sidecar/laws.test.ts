import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { podUsageSchema, type PodUsageStatus } from "#core/api/pod-usage.ts";
import { type PodView, toPodView, totalAt } from "#core/counted.ts";
import {
  applyReading,
  applyTime,
  chooseState,
  EMPTY_STATE,
  fromPodUsage,
  type Reading,
  type SidecarState,
  toPodUsageStatus,
} from "#core/sidecar-fold.ts";
import { HOUR_MS, hourKey, parseHourKey, shiftHour } from "#core/time.ts";
import { transitionFault } from "../../../test/fakes/pod-usage-server.ts";
import { openStateLog } from "./state-log.ts";

const FIRST_HOUR = "2026112208";
const START_MS = parseHourKey(FIRST_HOUR);

/** What may happen to a pod between two scrapes. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("count" as const), a: fc.nat(50), b: fc.nat(50) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), minutes: fc.integer({ min: 1, max: 100 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reboot" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** All that a pod's sidecar ever said, and the truth at the end of each hour. */
interface History {
  readonly readings: readonly Reading[];
  readonly states: readonly SidecarState[];
  readonly statuses: readonly PodUsageStatus[];
  readonly truth: ReadonlyMap<string, bigint>;
}

/** Plays steps; the sidecar scrapes, folds and publishes after each. */
function play(steps: readonly Step[]): History {
  let state = EMPTY_STATE;
  let nowMs = START_MS;
  let epoch = 1;
  let counters: Record<string, bigint> = { a: 0n, b: 0n };
  let used = 0n;
  const truth = new Map<string, bigint>();
  const readings: Reading[] = [];
  const states: SidecarState[] = [];
  const statuses: PodUsageStatus[] = [];
  for (const next of [{ kind: "count" as const, a: 0, b: 0 }, ...steps]) {
    if (next.kind === "count") {
      counters = { a: (counters["a"] ?? 0n) + BigInt(next.a), b: (counters["b"] ?? 0n) + BigInt(next.b) };
      used += BigInt(next.a);
    }
    if (next.kind === "reboot") {
      epoch += 1;
      counters = { a: 0n, b: 0n };
    }
    const before = hourKey(nowMs);
    if (next.kind === "pass") nowMs += next.minutes * 60_000;
    for (let hour = before; hour < hourKey(nowMs); hour = shiftHour(hour, 1)) truth.set(hour, used);
    const reading: Reading = { epoch: `e${epoch}`, counters: new Map(Object.entries(counters)), source: "Scrape" };
    state = foldOnce(state, reading, nowMs);
    readings.push(reading);
    states.push(state);
    statuses.push(toStatus(state));
  }
  return { readings, states, statuses, truth };
}

function foldOnce(state: SidecarState, reading: Reading, nowMs: number): SidecarState {
  const folded = applyReading(state, reading);
  if (!folded.ok) throw new Error(folded.problem);
  const timed = applyTime(folded.state, { nowMs, hour: hourKey(nowMs), upMs: 0 });
  return { ...timed, sequence: (BigInt(timed.sequence) + 1n).toString() };
}

function toStatus(state: SidecarState): PodUsageStatus {
  return toPodUsageStatus(state, { final: false, reportedAt: undefined, enforced: undefined, leases: [] });
}

function toView(status: PodUsageStatus): PodView {
  return toPodView(
    podUsageSchema.parse({
      apiVersion: "supercargo.dev/v1alpha1",
      kind: "PodUsage",
      metadata: { name: "u", namespace: "n" },
      spec: {
        podName: "p",
        component: "gateway",
        agentDeployment: "a",
        offerResourceId: "plain",
        checkpointSeconds: 60,
      },
      status,
    }),
  );
}

describe("I9: the order, the number and the delay of a sidecar's writes change nothing", () => {
  const deliveries = fc.array(fc.nat(), { maxLength: 60 });

  it("any order, repeats and losses of writes end in the newest, and never lower what the reporter counts", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), deliveries, (steps, order) => {
        const { statuses, truth } = play(steps);
        const newest = statuses.length - 1;
        let stored: PodUsageStatus | undefined;
        for (const at of [...order.map((n) => n % statuses.length), newest, ...order.map((n) => n % statuses.length)]) {
          const written = statuses[at];
          if (!written || (stored && transitionFault(stored, written) !== undefined)) continue;
          expectTruth(written, truth);
          stored = written;
        }
        expect(stored).toEqual(statuses[newest]);
      }),
    );
  });

  it("a repeated scrape adds nothing, and the same readings fold to the same state", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.array(fc.nat(3), { maxLength: 40 }), (steps, repeats) => {
        const { readings, states } = play(steps);
        let again = EMPTY_STATE;
        for (const [at, reading] of readings.entries())
          for (let n = 0; n <= (repeats[at] ?? 0); n += 1) {
            const folded = applyReading(again, reading);
            if (!folded.ok) throw new Error(folded.problem);
            again = folded.state;
          }
        const { pod_milliseconds: _, ...totals } = states.at(-1)?.totals ?? {};
        expect(again.totals).toEqual(totals);
        expect(play(steps)).toEqual(play(steps));
      }),
    );
  });

  it("a reading that comes late, of an epoch that is over, is refused: nothing is counted again", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), fc.nat(), (steps, pick) => {
        const { readings, states } = play(steps);
        const newest = states.at(-1) ?? EMPTY_STATE;
        const late = readings[pick % readings.length];
        if (!late || late.epoch === newest.epoch) return;
        expect(applyReading(newest, late).ok).toBe(false);
      }),
    );
  });
});

/** Before its boundary is there an hour counts what was published, which is less; then exactly its truth. */
function expectTruth(status: PodUsageStatus, truth: ReadonlyMap<string, bigint>): void {
  const hours = (status.boundaries ?? []).map((boundary) => boundary.hour);
  for (const [hour, used] of truth) {
    const counted = totalAt(toView(status), "a", hour);
    if (hours.includes(hour)) expect(counted).toBe(used);
    else if (hours.every((known) => known < hour)) expect(counted <= used).toBe(true);
  }
}

describe("I15: a damaged log yields an older state or none, never a larger total", () => {
  let folder: string;
  beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "sidecar-log-"))));
  afterAll(() => rmSync(folder, { recursive: true }));
  const log = { warn: () => undefined, error: () => undefined };
  const damage = fc.oneof(
    fc.record({ kind: fc.constant("cut" as const), at: fc.nat(1_000_000) }),
    fc.record({ kind: fc.constant("flip" as const), at: fc.nat(8_000_000) }),
    fc.record({ kind: fc.constant("zero" as const), at: fc.nat(1_000_000) }),
  );

  it("and the sidecar goes on from there to exactly what was used in this epoch", () => {
    const file = join(folder, "usage.log");
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), damage, fc.nat(), (steps, { kind, at }, pick) => {
        rmSync(file, { force: true });
        const { states, statuses, readings } = play(steps);
        const stateLog = openStateLog(folder, log);
        for (const state of states) stateLog.store(state);
        stateLog.close();
        writeFileSync(file, damageBytes(readFileSync(file), { kind, at }));

        const damaged = openStateLog(folder, log);
        damaged.close();
        if (damaged.restored) expect(states).toContainEqual(damaged.restored);
        // Complete means that nothing newer can stand in PodUsage. Only a cut between two records looks so and is not.
        if (damaged.isComplete && kind !== "cut") expect(damaged.restored).toEqual(states.at(-1));

        const published = pickFrom(statuses, pick);
        const state = chooseState(damaged.restored, published && fromPodUsage(published));
        const newest = readings.at(-1);
        const total = totalOf(newest ? foldOrKeep(state, newest) : state);
        expect(total <= totalOf(states.at(-1))).toBe(true);
        if (state.epoch === newest?.epoch) expect(total).toBe(totalOf(states.at(-1)));
      }),
      { numRuns: 300 },
    );
  });
});

function damageBytes(bytes: Buffer, { kind, at }: { kind: "cut" | "flip" | "zero"; at: number }): Buffer {
  if (kind === "cut") return bytes.subarray(0, at % (bytes.length + 1));
  if (kind === "zero") return bytes.fill(0, at % bytes.length);
  const place = (at >> 3) % bytes.length;
  bytes[place] = (bytes[place] ?? 0) ^ (1 << (at & 7));
  return bytes;
}

function pickFrom<T>(list: readonly T[], pick: number): T | undefined {
  return list[pick % list.length];
}

function foldOrKeep(state: SidecarState, reading: Reading): SidecarState {
  const folded = applyReading(state, reading);
  return folded.ok ? folded.state : state;
}

function totalOf(state: SidecarState | undefined): bigint {
  return BigInt(state?.totals["a"] ?? "0");
}

it("no boundary moves once it was written, whatever comes later", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { statuses } = play(steps);
      const seen = new Map<string, string>();
      for (const status of statuses)
        for (const { hour, totals } of status.boundaries ?? []) {
          const text = JSON.stringify(totals);
          expect(seen.get(hour) ?? text).toBe(text);
          seen.set(hour, text);
          expect(parseHourKey(hour) % HOUR_MS).toBe(0);
        }
    }),
  );
});
