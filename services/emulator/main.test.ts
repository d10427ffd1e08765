import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { generateKeyPairSync } from "node:crypto";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { systemClock } from "#runtime/clock.ts";
import { startEmulator } from "./app.ts";
import { readConfig } from "./config.ts";
import { OWNER, request, SEED, usageEvent } from "./test-kit.ts";

const MAIN = path.join(import.meta.dirname, "main.ts");
const folder = mkdtempSync(path.join(tmpdir(), "emulator-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const FREE = { HOST: "127.0.0.1", PORT: "0", CONTROL_PORT: "0", IMDS_HOST: "127.0.0.1", IMDS_PORT: "0" };
const TOKEN_PATH = `/metadata/identity/oauth2/token?api-version=2018-02-01&client_id=${OWNER}&resource=20e940b3-4c77-4b0b-9a53-9e16a1b010a7`;

describe("main", () => {
  it("starts from the environment, serves, and ends on SIGTERM with 0", async () => {
    const file = path.join(folder, "resources.yaml");
    writeFileSync(
      file,
      `resources:\n  - resourceUri: /subscriptions/s/extensions/a\n    ownerClientId: me\n    plans: [{planId: p, dimensions: [d]}]\n`,
    );
    const child = spawn(process.execPath, [MAIN], { env: { ...FREE, RESOURCES_FILE: file } });
    const [line] = await once(child.stdout, "data");
    const started = z
      .object({ url: z.url(), controlUrl: z.url(), msg: z.literal("Started emulator") })
      .parse(JSON.parse(String(line)));
    expect(await request(`${started.url}/readyz`)).toMatchObject({ status: 200, body: "ok\n" });
    expect(await request(`${started.controlUrl}/control/resources`)).toMatchObject({
      body: { resources: [{ ownerClientId: "me" }] },
    });
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  it("names every problem of the environment", async () => {
    const run = promisify(execFile)(process.execPath, [MAIN], {
      env: { PORT: "x", STAND_INS: "metering,clock", PUBLIC_URL: "here" },
    });
    const error = z.object({ code: z.number(), stderr: z.string() }).parse(await run.catch((cause: unknown) => cause));
    expect(error.code).toBe(1);
    expect(error.stderr).toContain("Cannot use the environment of the emulator:");
    for (const name of ["PORT", "STAND_INS", "PUBLIC_URL"]) expect(error.stderr).toContain(`- ${name}`);
  });
});

describe("readConfig()", () => {
  it("names the file and the field of a bad RESOURCES_FILE", () => {
    const file = path.join(folder, "bad.yaml");
    writeFileSync(file, "resources: [{resourceUri: x}]");
    expect(() => readConfig({ RESOURCES_FILE: file })).toThrow(
      /bad\.yaml:\n.*resources\.0\.resourceUri: must be an ARM id/,
    );
    expect(() => readConfig({ RESOURCES_FILE: path.join(folder, "none.yaml") })).toThrow(/none\.yaml:\n.*ENOENT/);
  });
});

describe("stand-ins in two processes", () => {
  const pem = generateKeyPairSync("rsa", { modulusLength: 2048 })
    .privateKey.export({ type: "pkcs8", format: "pem" })
    .toString();
  it.each([
    ["one seed", { seed: "shared" }, { seed: "shared" }, 200],
    ["one RSA key", { pem }, { pem }, 200],
    ["different keys", { seed: "a" }, { seed: "b" }, 403],
  ])("with %s", async (...[_name, imdsKeys, meteringKeys, status]) => {
    const imds = await startEmulator({ standIns: ["imds"], seed: SEED, keys: imdsKeys });
    const metering = await startEmulator({ standIns: ["metering"], seed: SEED, keys: meteringKeys });
    expect([imds.url, imds.controlUrl, metering.imdsUrl]).toEqual(["", "", ""]);
    const answer = await request(`${imds.imdsUrl}${TOKEN_PATH}`, { headers: { metadata: "true" } });
    const { access_token } = z.object({ access_token: z.string() }).parse(answer.body);
    const posted = await request(`${metering.url}/api/usageEvent?api-version=2018-08-31`, {
      method: "POST",
      body: usageEvent({ effectiveStartTime: new Date(systemClock.now()).toISOString() }),
      headers: { authorization: `Bearer ${access_token}` },
    });
    expect(posted.status).toBe(status);
    await Promise.all([imds.stop(), metering.stop()]);
  });
});
