import { describe, expect, it } from "vitest";
import { createStore } from "#runtime/kube/store.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import { BY_AGENT, BY_OWNER, createCache, INDEXES } from "./cache.ts";

function object(name: string, resourceVersion: string, owner = "agent-uid"): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Thing",
    metadata: {
      name,
      namespace: "n",
      resourceVersion,
      labels: { "supercargo.dev/agent": "a" },
      ownerReferences: [{ uid: owner }],
    },
  };
}

describe("createCache()", () => {
  it("shows what was written before the watch shows it, in every view", () => {
    const cache = createCache([createStore(INDEXES)]);
    cache.remember(object("x", "7"));
    expect(cache.get({ namespace: "n", name: "x" })?.metadata.resourceVersion).toBe("7");
    expect(cache.list()).toHaveLength(1);
    expect(cache.byIndex(BY_OWNER, "agent-uid")).toHaveLength(1);
    expect(cache.byIndex(BY_AGENT, "n/a")).toHaveLength(1);
    expect(cache.byIndex(BY_OWNER, "other")).toEqual([]);
  });

  it("does not go back when the watch shows what stood before the write", () => {
    const store = createStore(INDEXES);
    const cache = createCache([store]);
    store.set(object("x", "5"));
    cache.remember(object("x", "9"));
    store.set(object("x", "6"));
    cache.seen("n/x", object("x", "6"));
    expect(cache.list().map((item) => item.metadata.resourceVersion)).toEqual(["9"]);
  });

  it.each([
    ["reaches the write", object("x", "9")],
    ["is past it", object("x", "10")],
    ["shows a delete", undefined],
  ])("drops what it remembered once the watch %s", (_, shown) => {
    const store = createStore(INDEXES);
    const cache = createCache([store]);
    store.set(object("x", "5"));
    cache.remember(object("x", "9"));
    if (shown) store.set(shown);
    else store.remove(object("x", "9"));
    cache.seen("n/x", shown);
    expect(cache.get({ namespace: "n", name: "x" })).toEqual(shown);
  });

  it("does not remember what is older than what the watch showed", () => {
    const store = createStore(INDEXES);
    const cache = createCache([store]);
    store.set(object("x", "12"));
    cache.remember(object("x", "9"));
    expect(cache.get({ namespace: "n", name: "x" })?.metadata.resourceVersion).toBe("12");
  });

  it("reads over the stores of several namespaces", () => {
    const stores = [createStore(INDEXES), createStore(INDEXES)];
    stores[0]?.set(object("x", "1"));
    stores[1]?.set(object("y", "1"));
    expect(createCache(stores).list()).toHaveLength(2);
  });
});
