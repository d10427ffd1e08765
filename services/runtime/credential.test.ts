import type { TokenCredential } from "@azure/identity";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "./clock.ts";
import { createEntraCredential, type EntraCredential } from "./credential.ts";
import { createLogger } from "./log.ts";

const log = createLogger({ component: "test", level: "silent" });
let credential: EntraCredential;
/** What the identity answers next: a life in seconds, or a failure. */
let answers: (number | Error)[];
let asked: number;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-24T12:00:00Z") });
  answers = [];
  asked = 0;
  const source: TokenCredential = {
    getToken() {
      asked += 1;
      const next = answers.shift() ?? new Error("Entra is down");
      if (next instanceof Error) return Promise.reject(next);
      return Promise.resolve({ token: `token-${asked}`, expiresOnTimestamp: Date.now() + next * 1000 });
    },
  };
  credential = createEntraCredential({
    scope: "s",
    clock: systemClock,
    random: () => 0.5,
    log,
    source: () => Promise.resolve(source),
  });
});
afterEach(() => {
  credential.stop();
  vi.useRealTimers();
});

const pass = (seconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(seconds * 1000);

describe("createEntraCredential()", () => {
  it("fetches nothing before it is started", async () => {
    await pass(100);
    expect(asked).toBe(0);
    expect(credential.notReady()).toBeUndefined();
  });

  it("has the first token soon after the start, and says that it is awaited", async () => {
    answers = [3600];
    credential.start();
    expect(credential.notReady()).toMatch(/is being fetched/);
    await pass(0);
    expect(credential.current()).toBe("token-1");
    expect(credential.notReady()).toBeUndefined();
  });

  it("renews at half of the token's life, once however often it is started", async () => {
    answers = [3600, 3600];
    credential.start();
    credential.start();
    await pass(1799);
    expect([asked, credential.current()]).toEqual([1, "token-1"]);
    await pass(2);
    expect([asked, credential.current()]).toEqual([2, "token-2"]);
  });

  it("keeps the old token while renewals fail, until it expires, and recovers", async () => {
    answers = [3600];
    credential.start();
    await pass(3500);
    expect(asked).toBeGreaterThan(5);
    expect(credential.current()).toBe("token-1");
    await pass(101);
    expect(credential.current()).toBeUndefined();
    answers = [3600];
    await pass(62);
    expect(credential.current()).toMatch(/^token-\d+$/);
  });

  it("lets the pod become ready when the first try has failed: the answers then say why", async () => {
    credential.start();
    await pass(0);
    expect(credential.notReady()).toBeUndefined();
    expect(credential.current()).toBeUndefined();
  });

  it("waits at most a minute between failed tries, at least a second", async () => {
    credential.start();
    await pass(3600);
    expect(asked).toBeGreaterThan(60);
    expect(asked).toBeLessThan(300);
  });
});
