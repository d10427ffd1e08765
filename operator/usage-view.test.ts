import { describe, expect, it } from "vitest";
import { POD_USAGES, USAGE_LEDGERS } from "#runtime/kube/resources.ts";
import { createStore } from "#runtime/kube/store.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import { createCache, INDEXES } from "./cache.ts";
import { observeUsage } from "./usage-view.ts";

const total = (dimension: string, amount: string) => ({ dimension, total: amount });

function usage(uid: string, totals: readonly unknown[], offerResourceId = "plain"): KubeObject {
  return {
    apiVersion: "",
    kind: "PodUsage",
    metadata: { name: uid, namespace: "n", uid: `o-${uid}`, labels: { "supercargo.dev/agent": "a" } },
    spec: { offerResourceId },
    status: { totals },
  };
}

function ledger(spec: Readonly<Record<string, unknown>>): KubeObject {
  return { apiVersion: "", kind: "UsageLedger", metadata: { name: "l" }, spec: { offerResourceId: "plain", ...spec } };
}

function observe(usages: readonly KubeObject[], ledgers: readonly KubeObject[]): ReturnType<typeof observeUsage> {
  const stores = new Map([POD_USAGES, USAGE_LEDGERS].map((ref) => [ref, createStore(INDEXES)]));
  for (const object of usages) stores.get(POD_USAGES)?.set(object);
  for (const object of ledgers) stores.get(USAGE_LEDGERS)?.set(object);
  const caches = (ref: typeof POD_USAGES) => createCache([stores.get(ref) ?? createStore()]);
  return observeUsage({ key: "n/a" }, { caches, offerResourceId: "plain" });
}

describe("observeUsage()", () => {
  it("is absent before anything was counted", () => {
    expect(observe([], [])).toEqual({});
  });

  it("adds living and settled pods, and shows no pod time", () => {
    const living = usage("1", [total("input_tokens", "100"), total("pod_milliseconds", "5000")]);
    const settled = [
      { agent: "n/a", dimension: "input_tokens", total: "900719925474099300" },
      { agent: "n/a", dimension: "workflow_completed", total: "2" },
      { agent: "n/other", dimension: "input_tokens", total: "7" },
    ];
    expect(observe([living], [ledger({ settled })])).toEqual({
      usage: [
        { dimension: "input_tokens", used: "900719925474099400" },
        { dimension: "workflow_completed", used: "2" },
      ],
      usageSummary: "2 runs, 900719925474099400 tokens",
    });
  });

  it("counts a pod once while its usage is settled and its PodUsage still there", () => {
    const ended = usage("1", [total("output_tokens", "50")]);
    const settled = [{ agent: "n/a", dimension: "output_tokens", total: "50" }];
    expect(observe([ended], [ledger({ settled, tombstones: [{ uid: "1" }] })]).usage).toEqual([
      { dimension: "output_tokens", used: "50" },
    ]);
  });

  it("leaves out what belongs to another offer", () => {
    expect(observe([usage("1", [total("output_tokens", "50")], "/other")], [])).toEqual({});
  });
});
