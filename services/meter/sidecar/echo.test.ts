import { describe, expect, it } from "vitest";
import type { PodUsageSpec } from "#core/api/pod-usage.ts";
import type { CounterRecord } from "#core/counter-record.ts";
import { EMPTY_STATE, type SidecarState } from "#core/sidecar-fold.ts";
import { toControl } from "./control-file.ts";
import { toEcho } from "./echo.ts";

/** Of the pod's 7 documents 3 were counted before the node was started again. */
const state: SidecarState = { ...EMPTY_STATE, epoch: "e2", totals: { documents: "7" }, last: { documents: "4" } };
const spec = (upTo: string): PodUsageSpec => ({
  podName: "orders-1",
  component: "gateway",
  agentDeployment: "orders",
  offerResourceId: "plain",
  checkpointSeconds: 60,
  grants: {
    term: 1,
    clockOffsetSeconds: 0,
    entitlement: { state: "Active", planId: "starter", validUntil: "2026-11-23T08:00:00Z" },
    leases: [{ dimension: "documents", upTo }],
  },
});
const record = (epoch: string, leases: CounterRecord["leases"]): CounterRecord => ({
  sequence: 1,
  epoch,
  bootId: "b",
  totals: {},
  journalSequence: 0,
  configDigest: "",
  controlDigest: "",
  mode: "",
  leases,
});

describe("ceilings on the pod's total", () => {
  it.each([
    ["10", "7"],
    ["3", "0"],
    ["2", "0"],
  ])("of %s allow the counters of this epoch %s", (upTo, allowed) => {
    expect(toControl(spec(upTo), state)).toMatchObject({
      epoch: "e2",
      leases: [{ dimension: "documents", upTo: allowed }],
    });
  });

  it("are for no epoch before one was seen", () => {
    expect(toControl(spec("10"), EMPTY_STATE)).toMatchObject({ epoch: "" });
  });

  it("are acknowledged as such, and what is needed with them", () => {
    const applied = record("e2", { documents: { applied: "7", held: "2" } });
    expect(toEcho(applied, { state, published: undefined }).leases).toEqual([
      { dimension: "documents", want: "9", ack: "10" },
    ]);
  });

  it.each([
    ["of which a new service does not speak yet", record("e2", {})],
    ["that another epoch's service applied", record("e1", { documents: { applied: "99", held: "5" } })],
    ["without a counter file", undefined],
  ])("%s keep their last word", (_what, unsaid) => {
    const published = { sequence: "1", totals: [], final: "No" as const };
    const leases = [{ dimension: "documents", want: "12", ack: "10" }];
    expect(toEcho(unsaid, { state, published: { ...published, leases } }).leases).toEqual([
      { dimension: "documents", want: "7", ack: "10" },
    ]);
    expect(toEcho(unsaid, { state, published }).leases).toEqual([]);
  });
});
