import { describe, expect, it } from "vitest";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { PODS } from "./resources.ts";
import type {
  KubeClient,
  KubeError,
  KubeList,
  KubeObject,
  KubeResult,
  WatchEnd,
  WatchHandlers,
  WatchQuery,
} from "./types.ts";
import { createReflector, trimObject } from "./watch.ts";

interface Script {
  readonly client: KubeClient;
  /** Answers of the next lists, oldest first; the last one stays. */
  readonly lists: KubeResult<KubeList>[];
  readonly listed: string[];
  /** The watch that is open now. */
  open(): { readonly query: WatchQuery; readonly handlers: WatchHandlers; end(end: WatchEnd): void } | undefined;
  readonly watches: WatchQuery[];
}

function createScript(...lists: KubeResult<KubeList>[]): Script {
  const listed: string[] = [];
  const watches: WatchQuery[] = [];
  let open: ReturnType<Script["open"]>;
  const refuse = (): never => {
    throw new Error("A reflector does not call this");
  };
  return {
    lists,
    listed,
    watches,
    open: () => open,
    client: {
      list: async () => {
        listed.push("list");
        const next = lists.length > 1 ? lists.shift() : lists[0];
        if (!next) throw new Error("no list is scripted");
        return next;
      },
      watch: (_, query, handlers) => {
        watches.push(query);
        return new Promise((resolve) => {
          const end = (how: WatchEnd): void => {
            open = undefined;
            resolve(how);
          };
          open = { query, handlers, end };
          handlers.onOpen?.();
          handlers.signal.addEventListener("abort", () => end({ kind: "Closed" }));
        });
      },
      collect: refuse,
      get: refuse,
      create: refuse,
      update: refuse,
      updateStatus: refuse,
      apply: refuse,
      applyStatus: refuse,
      patchMerge: refuse,
      delete: refuse,
      read: refuse,
      close: refuse,
    },
  };
}

const listOf = (resourceVersion: string, ...items: KubeObject[]): KubeResult<KubeList> => ({
  ok: true,
  value: { items, resourceVersion },
  dateMs: undefined,
});
const failure = (kind: KubeError["kind"], message = ""): { ok: false; error: KubeError } => ({
  ok: false,
  error: { kind, status: 0, message },
});
const pod = (name: string, version: string, uid = name): KubeObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "n", uid, resourceVersion: version },
});

function follow(script: Script): {
  clock: ReturnType<typeof createFakeClock>;
  changes: string[];
  misses: number[];
  reflector: ReturnType<typeof createReflector>;
} {
  const clock = createFakeClock();
  const changes: string[] = [];
  const misses: number[] = [];
  const reflector = createReflector({
    client: script.client,
    ref: PODS,
    clock,
    random: () => 0.5,
    log: { warn: () => undefined, debug: () => undefined },
    onCacheMiss: (count) => misses.push(count),
    onChange: ({ key, object, previous }, source) =>
      changes.push(
        `${source} ${key} ${previous?.metadata.resourceVersion ?? "-"}>${object?.metadata.resourceVersion ?? "-"}`,
      ),
  });
  reflector.start();
  return { clock, changes, misses, reflector };
}

describe("createReflector()", () => {
  it("lists, then watches from the list's version, and follows", async () => {
    const script = createScript(listOf("10", pod("a", "3")));
    const { clock, changes, reflector } = follow(script);
    await clock.advance(0);
    expect(reflector.hasSynced()).toBe(true);
    expect(script.watches[0]).toMatchObject({ resourceVersion: "10" });
    const { handlers } = script.open() ?? expect.fail("no watch");
    handlers.onEvent({ type: "ADDED", object: pod("b", "11") });
    handlers.onEvent({ type: "MODIFIED", object: pod("a", "12") });
    handlers.onEvent({ type: "DELETED", object: pod("b", "13") });
    expect(changes).toEqual(["list n/a ->3", "watch n/b ->11", "watch n/a 3>12", "watch n/b 11>-"]);
    expect(reflector.store.list().map((item) => item.metadata.name)).toEqual(["a"]);
  });

  it("goes on from the newest version that it saw, bookmarks included, without a list", async () => {
    const script = createScript(listOf("10"));
    const { clock } = follow(script);
    await clock.advance(0);
    const first = script.open() ?? expect.fail("no watch");
    first.handlers.onEvent({ type: "BOOKMARK", object: pod("", "40") });
    await clock.advance(60_000);
    first.end({ kind: "Closed" });
    await clock.advance(0);
    expect(script.watches.map((watch) => watch.resourceVersion)).toEqual(["10", "40"]);
    expect(script.listed).toHaveLength(1);
  });

  it.each<[string, WatchEnd]>([
    ["410", { kind: "Gone" }],
    [
      "a version from the future",
      {
        kind: "Failed",
        error: { kind: "Unreachable", status: 504, message: "Too large resource version: 9, current: 3" },
      },
    ],
  ])("lists again after %s, and tells what was deleted meanwhile", async (_, end) => {
    const script = createScript(listOf("10", pod("a", "3"), pod("b", "4")), listOf("20", pod("b", "15")));
    const { clock, changes } = follow(script);
    await clock.advance(0);
    (script.open() ?? expect.fail("no watch")).end(end);
    await clock.advance(0);
    expect(changes.slice(2)).toEqual(["list n/b 4>15", "list n/a 3>-"]);
    expect(script.watches.at(-1)).toMatchObject({ resourceVersion: "20" });
  });

  it("takes an object of the same name with another UID as a delete and an add", async () => {
    const script = createScript(listOf("10", pod("a", "3", "first")));
    const { clock, changes } = follow(script);
    await clock.advance(0);
    (script.open() ?? expect.fail("no watch")).handlers.onEvent({ type: "MODIFIED", object: pod("a", "12", "second") });
    expect(changes.slice(1)).toEqual(["watch n/a 3>-", "watch n/a ->12"]);
  });

  it("never dies: it waits longer after each failure, up to 30 s, and lists when it can", async () => {
    const failures = Array.from({ length: 12 }, () => failure("Unreachable"));
    const script = createScript(...failures, listOf("10", pod("a", "3")));
    const { clock, reflector } = follow(script);
    await clock.advance(20_000);
    expect(reflector.hasSynced()).toBe(false);
    expect(reflector.problem()?.kind).toBe("Unreachable");
    const early = script.listed.length;
    expect(early).toBeLessThan(12);
    await clock.advance(400_000);
    expect(reflector.hasSynced()).toBe(true);
    expect(reflector.problem()).toBeUndefined();
  });

  it("does not spin when the server ends every watch at once", async () => {
    const script = createScript(listOf("10"));
    const { clock } = follow(script);
    for (let second = 0; second < 60; second += 1) {
      script.open()?.end({ kind: "Closed" });
      await clock.advance(1_000);
    }
    expect(script.watches.length).toBeLessThan(30);
  });

  it("lists everything once an hour, and counts what the watch had missed", async () => {
    const script = createScript(listOf("10", pod("a", "3")), listOf("50", pod("a", "20"), pod("b", "45")));
    const { clock, misses } = follow(script);
    await clock.advance(0);
    (script.open() ?? expect.fail("no watch")).handlers.onEvent({ type: "BOOKMARK", object: pod("", "40") });
    for (let minute = 0; minute < 70; minute += 1) {
      await clock.advance(60_000);
      if (minute % 4 === 3) script.open()?.end({ kind: "Closed" });
    }
    expect(script.listed.length).toBeGreaterThanOrEqual(2);
    // a@20 is older than the bookmark: the watch should have told. b@45 is newer.
    expect(misses).toEqual([1]);
  });

  it("stops for good", async () => {
    const script = createScript(listOf("10"));
    const { clock, reflector } = follow(script);
    await clock.advance(0);
    await reflector.stop();
    await clock.advance(600_000);
    expect(script.watches).toHaveLength(1);
  });

  it("asks for watches that end before a load balancer cuts them", async () => {
    const script = createScript(listOf("10"));
    const { clock } = follow(script);
    await clock.advance(0);
    expect(script.watches[0]?.timeoutSeconds).toBeGreaterThanOrEqual(180);
    expect(script.watches[0]?.timeoutSeconds).toBeLessThan(300);
  });
});

describe("trimObject()", () => {
  it("drops managedFields and what kubectl applied last", () => {
    const annotations = { "kubectl.kubernetes.io/last-applied-configuration": "{}", kept: "yes" };
    const object = { ...pod("a", "1"), metadata: { ...pod("a", "1").metadata, managedFields: [{}], annotations } };
    expect(trimObject(object).metadata).toEqual({ ...pod("a", "1").metadata, annotations: { kept: "yes" } });
  });
});
