import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { createLogger } from "#runtime/log.ts";
import { systemClock } from "#runtime/clock.ts";
import { createKeeper } from "./state-file.ts";
import { NOW_MS, OWNER, request, startKit, usageEvent, type Kit } from "./test-kit.ts";

let folder = "";
let file = "";
let kits: Kit[] = [];
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "emulator-state-"));
  file = path.join(folder, "state.json");
  kits = [];
});
afterEach(async () => {
  await Promise.all(kits.map((kit) => kit.stop()));
  rmSync(folder, { recursive: true, force: true });
});

const start = async (options: Parameters<typeof startKit>[0] = {}): Promise<Kit> => {
  const kit = await startKit({ stateFile: file, ...options });
  kits.push(kit);
  return kit;
};

describe("a state file", () => {
  it("is there from the start, readable for its owner alone", async () => {
    await start();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ state: { version: 1, events: [] } });
  });

  it("holds an event before its answer comes", async () => {
    const kit = await start();
    await kit.post("usageEvent", usageEvent());
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ state: { events: [{ quantity: 5 }] } });
    await kit.control("faults", { standIn: "metering", kind: "DropAnswer" });
    await expect(kit.post("usageEvent", usageEvent({}, 2))).rejects.toThrow("fetch failed");
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ state: { events: [{}, {}] } });
  });

  it("carries everything over a restart: the state, and tokens that were signed before", async () => {
    const first = await start();
    const old = await first.token();
    await first.control("keys/rotate", {});
    const newer = await first.token();
    await first.post("usageEvent", usageEvent());
    await first.control("clock", { advanceSeconds: 30 });
    await first.control("faults", { standIn: "metering", kind: "DropAnswer", count: 3, route: "usageEvents" });
    await first.control("switches", { listDelaySeconds: 3 });
    const before = (await first.control("state")).body;
    await first.stop();
    const second = await start();
    expect((await second.control("state")).body).toEqual(before);
    for (const token of [old, newer]) {
      const answer = await second.post("usageEvent", usageEvent(), { authorization: `Bearer ${token}` });
      expect(answer).toMatchObject({ status: 409 });
    }
    await second.control("keys/rotate", { retireOld: true });
    await second.stop();
    const third = await start();
    const answer = await third.post("usageEvent", usageEvent(), { authorization: `Bearer ${newer}` });
    expect(answer).toMatchObject({ status: 403 });
  });

  it("counts more than the seed, and a reset goes back to the seed", async () => {
    const first = await start();
    await first.control("identities", { clientId: "late" });
    await first.stop();
    const second = await start();
    const names = async () => JSON.stringify((await second.control("identities")).body);
    expect(await names()).toContain("late");
    await second.control("reset", {});
    expect(await names()).not.toContain("late");
    expect(await names()).toContain(OWNER);
  });

  it("lets a fast clock run on while the process is away", async () => {
    const first = await start();
    await first.control("clock", { speed: 61 });
    await first.stop();
    const second = await startKit({
      stateFile: file,
      clock: { ...systemClock, now: () => NOW_MS + 10_000 },
    });
    kits.push(second);
    expect((await second.control("clock")).body).toMatchObject({ offsetSeconds: 600, speed: 61 });
  });

  it.each([
    ["{", /state\.json:\n.*JSON/],
    ['{"state":{"version":3}}', /state\.json:\n(.*\n)*.*state\.version: .*current value is 3/],
  ])("%j stops the start with file, field and value, and stays as it is", async (text, problem) => {
    writeFileSync(file, text);
    await expect(start()).rejects.toThrow(problem);
    expect(readFileSync(file, "utf8")).toBe(text);
  });

  it("that cannot be written stops the start", async () => {
    await expect(start({ stateFile: path.join(folder, "none", "state.json") })).rejects.toThrow(
      /Cannot use STATE_FILE:\n.*ENOENT/,
    );
  });

  it("that cannot be written later is an answer of 500, not a success", async () => {
    const kit = await start();
    const authorization = `Bearer ${await kit.token()}`;
    rmSync(folder, { recursive: true });
    expect(await kit.post("usageEvent", usageEvent(), { authorization })).toMatchObject({ status: 500 });
    expect(await kit.control("clock", { advanceSeconds: 1 })).toMatchObject({ status: 500 });
    mkdirSync(folder);
    expect(await kit.post("usageEvent", usageEvent(), { authorization })).toMatchObject({ status: 409 });
  });
});

describe("createKeeper()", () => {
  it("writes once for all who ask during a write, and each after its own change", async () => {
    let value = 0;
    let taken = 0;
    const take = () => {
      taken += 1;
      return { state: value, keys: 0 };
    };
    const log = createLogger({ component: "emulator", level: "silent" });
    const keeper = createKeeper({ file, take, clock: systemClock, log });
    const asks = Array.from({ length: 20 }, async (_, index) => {
      value = index + 1;
      await keeper.saved();
      const kept = z.object({ state: z.number() }).parse(JSON.parse(readFileSync(file, "utf8")));
      expect(kept.state).toBeGreaterThanOrEqual(index + 1);
    });
    await Promise.all(asks);
    expect(taken).toBeLessThan(5);
    expect(existsSync(`${file}.tmp`)).toBe(false);
  });
});

describe("a process that is killed", () => {
  const MAIN = path.join(import.meta.dirname, "main.ts");
  const resources = `resources:\n  - resourceUri: ${String(usageEvent()["resourceUri"])}\n    ownerClientId: me\n    plans: [{planId: pro, dimensions: [workflow_completed]}]\n`;

  const startProcess = async (): Promise<{ child: ChildProcess; url: string; controlUrl: string }> => {
    writeFileSync(path.join(folder, "resources.yaml"), resources);
    const env = {
      HOST: "127.0.0.1",
      PORT: "0",
      CONTROL_PORT: "0",
      STAND_INS: "metering,control",
      RESOURCES_FILE: path.join(folder, "resources.yaml"),
      STATE_FILE: file,
    };
    const child = spawn(process.execPath, [MAIN], { env });
    const [line] = await once(child.stdout, "data");
    return { child, ...z.object({ url: z.url(), controlUrl: z.url() }).parse(JSON.parse(String(line))) };
  };

  it("between any two events forgets none that it answered", async () => {
    let booked = 0;
    for (let round = 0; round < 3; round += 1) {
      const { child, url, controlUrl } = await startProcess();
      const token = z
        .object({ accessToken: z.string() })
        .parse((await request(`${controlUrl}/control/tokens`, { method: "POST", body: { clientId: "me" } })).body);
      const send = async (hoursAgo: number): Promise<void> => {
        const startMs = Math.floor(systemClock.now() / 3_600_000 - hoursAgo) * 3_600_000;
        const answer = await request(`${url}/api/usageEvent?api-version=2018-08-31`, {
          method: "POST",
          body: usageEvent({ effectiveStartTime: new Date(startMs).toISOString() }),
          headers: { authorization: `Bearer ${token.accessToken}` },
        });
        expect(answer.status).toBe(200);
        booked += 1;
      };
      await Promise.all([1, 2, 3].map((index) => send(round * 3 + index)));
      child.kill("SIGKILL");
      await once(child, "exit");
      const kept = z
        .object({ state: z.object({ events: z.array(z.unknown()) }) })
        .parse(JSON.parse(readFileSync(file, "utf8")));
      expect(kept.state.events).toHaveLength(booked);
    }
    const { child, controlUrl } = await startProcess();
    expect(await request(`${controlUrl}/control/events`)).toMatchObject({ body: { count: booked } });
    child.kill("SIGKILL");
  });
});
