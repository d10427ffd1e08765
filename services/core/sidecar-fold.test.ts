import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  applyReading,
  applyTime,
  chooseState,
  EMPTY_STATE,
  fromPodUsage,
  isWorthLogging,
  type Reading,
  type SidecarState,
  toPodUsageStatus,
} from "./sidecar-fold.ts";

function reading(epoch: string, counters: Record<string, bigint>, source: Reading["source"] = "Scrape"): Reading {
  return { epoch, counters: new Map(Object.entries(counters)), source };
}

/** Folds readings that must all be taken. */
function fold(readings: readonly Reading[], from: SidecarState = EMPTY_STATE): SidecarState {
  return readings.reduce((state, next) => {
    const result = applyReading(state, next);
    if (!result.ok) throw new Error(result.problem);
    return result.state;
  }, from);
}

const echo = { final: false, reportedAt: "2026-11-22T08:00:00.000Z", enforced: undefined, leases: [] };

describe("applyReading(): the epoch table", () => {
  it("takes the first value whole, then differences", () => {
    const state = fold([reading("e1", { a: 5n }), reading("e1", { a: 5n }), reading("e1", { a: 9n, b: 1n })]);
    expect(state).toMatchObject({ epoch: "e1", totals: { a: "9", b: "1" }, last: { a: "9", b: "1" } });
  });

  it("takes the value of a new epoch whole, even when it is larger than the old one", () => {
    const state = fold([reading("e1", { a: 5n }), reading("e2", { a: 8n })]);
    expect(state).toMatchObject({ epoch: "e2", totals: { a: "13" }, last: { a: "8" }, pastEpochs: ["e1"] });
  });

  it("bills nothing of a counter that fell, quarantines it for the epoch, and counts the others on", () => {
    const state = fold([
      reading("e1", { a: 5n, b: 5n }),
      reading("e1", { a: 4n, b: 6n }),
      reading("e1", { a: 50n, b: 7n }),
    ]);
    expect(state).toMatchObject({ quarantined: ["a"], totals: { a: "5", b: "7" } });
    expect(fold([reading("e2", { a: 2n })], state)).toMatchObject({ quarantined: [], totals: { a: "7", b: "7" } });
  });

  it("quarantines a series that vanished", () => {
    expect(fold([reading("e1", { a: 5n, b: 1n }), reading("e1", { b: 2n })])).toMatchObject({
      quarantined: ["a"],
      totals: { a: "5", b: "2" },
    });
  });

  it.each([
    ["an empty epoch", reading("", { a: 9n })],
    ["an epoch that was over before", reading("e1", { a: 9n })],
    ["more than 32 dimensions", reading("e2", Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`d${n}`, 1n])))],
    ["pod_milliseconds from the service", reading("e2", { pod_milliseconds: 1n })],
    ["a counter file that is one write behind", reading("e2", { a: 1n }, "File")],
  ])("refuses %s and leaves the state as it was", (_what, bad) => {
    const state = fold([reading("e1", { a: 5n }), reading("e2", { a: 2n })]);
    expect(applyReading(state, bad).ok).toBe(false);
  });
});

describe("applyTime()", () => {
  const at = (hour: string, nowMs: number, upMs = 0): Parameters<typeof applyTime>[1] => ({ hour, nowMs, upMs });

  it("says at the first look that the pod had nothing before, and counts its life", () => {
    const state = applyTime(fold([reading("e1", { a: 5n })]), at("2026112208", 100_000, 7_000));
    expect(state.boundaries).toEqual([{ hour: "2026112207", totals: {} }]);
    expect(state.totals).toEqual({ a: "5", pod_milliseconds: "7000" });
    expect(applyTime(state, at("2026112208", 103_500)).totals["pod_milliseconds"]).toBe("10500");
  });

  it("never lets the life of a pod fall when the server's clock is set back", () => {
    const state = applyTime(EMPTY_STATE, at("2026112208", 100_000, 50_000));
    expect(applyTime(state, at("2026112208", 60_000)).totals["pod_milliseconds"]).toBe("50000");
  });

  it("gives every hour that ended the totals of the first look after it, and keeps 26", () => {
    let state = applyTime(fold([reading("e1", { a: 5n })]), at("2026112208", 1));
    state = applyTime(fold([reading("e1", { a: 6n })], state), at("2026112210", 2));
    expect(state.boundaries.slice(1).map(({ hour, totals }) => [hour, totals["a"]])).toEqual([
      ["2026112208", "6"],
      ["2026112209", "6"],
    ]);
    const far = applyTime(state, at("2026112423", 3));
    expect(far.boundaries).toHaveLength(26);
    expect(far.boundaries.at(-1)?.hour).toBe("2026112422");
    expect(applyTime(far, at("2026112410", 4)).hour).toBe("2026112423");
  });

  it("is not worth a write to the log while only the pod's life goes on", () => {
    const state = applyTime(fold([reading("e1", { a: 5n })]), at("2026112208", 100_000));
    expect(isWorthLogging(state, applyTime(state, at("2026112208", 105_000)))).toBe(false);
    expect(isWorthLogging(state, fold([reading("e1", { a: 6n })], state))).toBe(true);
    expect(isWorthLogging(state, applyTime(state, at("2026112209", 105_000)))).toBe(true);
  });
});

describe("log and PodUsage", () => {
  it("restores from a PodUsage so that the epoch is not counted again", () => {
    const lived = applyTime(fold([reading("e1", { a: 5n })]), { hour: "2026112208", nowMs: 9_000, upMs: 4_000 });
    const restored = fromPodUsage(toPodUsageStatus({ ...lived, sequence: "3" }, echo));
    expect(fold([reading("e1", { a: 7n })], restored).totals).toEqual({ a: "7", pod_milliseconds: "4000" });
    expect(restored).toMatchObject({ epoch: "e1", sequence: "3", hour: "2026112208" });
  });

  it.each([
    { what: "neither", logged: undefined, published: undefined, taken: "0" },
    { what: "the log alone", logged: "4", published: undefined, taken: "4" },
    { what: "PodUsage alone", logged: undefined, published: "4", taken: "4" },
    { what: "the log when both are equal", logged: "4", published: "4", taken: "4" },
    { what: "PodUsage when the log lost its end", logged: "3", published: "4", taken: "4" },
    { what: "the log when the last write never arrived", logged: "5", published: "4", taken: "5" },
  ])("takes $what", ({ logged, published, taken }) => {
    const state = (text: string | undefined): SidecarState | undefined =>
      text === undefined ? undefined : { ...EMPTY_STATE, sequence: text };
    expect(chooseState(state(logged), state(published)).sequence).toBe(taken);
  });

  it("I5: whatever is read, refused, lost or restored, no total falls and none exceeds what was used", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("count" as const), amount: fc.nat({ max: 100 }) }),
      fc.constant({ kind: "scrape" as const }),
      fc.constant({ kind: "publish" as const }),
      fc.constant({ kind: "restart" as const }),
      fc.constant({ kind: "restartWithoutLog" as const }),
      fc.constant({ kind: "reboot" as const }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50, size: "max" }), (steps) => {
        const world = new SidecarWorld();
        for (const next of steps) world.play(next);
        world.play({ kind: "scrape" });
        expect(world.total()).toBe(world.used);
      }),
    );
  });
});

/** A service whose epochs are always scraped before they end, and a sidecar that may lose its memory or its log. */
class SidecarWorld {
  used = 0n;
  state: SidecarState = EMPTY_STATE;
  log: SidecarState = EMPTY_STATE;
  published: SidecarState | undefined;
  epoch = 1;
  counter = 0n;

  play(step: { kind: string; amount?: number }): void {
    if (step.kind === "count") {
      this.counter += BigInt(step.amount ?? 0);
      this.used += BigInt(step.amount ?? 0);
    }
    if (step.kind === "scrape") this.scrape();
    if (step.kind === "publish") {
      this.state = { ...this.state, sequence: (BigInt(this.state.sequence) + 1n).toString() };
      this.log = this.state;
      this.published = fromPodUsage(toPodUsageStatus(this.state, echo));
    }
    if (step.kind === "restart") this.state = chooseState(this.log, this.published);
    if (step.kind === "restartWithoutLog") {
      this.state = chooseState(undefined, this.published);
      this.log = this.state;
      // What a lost log takes with it is bounded by K + S: here the epoch is still there and is read again.
    }
    if (step.kind === "reboot") this.reboot();
  }

  /** An old epoch that was not published is gone with the log; so publish before a new one, as K is not the matter here. */
  reboot(): void {
    this.scrape();
    this.play({ kind: "publish" });
    this.epoch += 1;
    this.counter = 0n;
    this.scrape();
    this.play({ kind: "publish" });
  }

  scrape(): void {
    const before = this.total();
    this.state = fold([reading(`e${this.epoch}`, { a: this.counter })], this.state);
    this.log = this.state;
    expect(this.total() >= before).toBe(true);
    expect(this.total()).toBe(this.used);
  }

  total(): bigint {
    return BigInt(this.state.totals["a"] ?? "0");
  }
}
