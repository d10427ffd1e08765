import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { NOW_MS, OWNER, startKit, usageEvent, type Kit } from "./test-kit.ts";

let kit: Kit;
afterEach(() => kit.stop());

describe("booked events", () => {
  it("beyond the limit get 503 and none is forgotten", async () => {
    kit = await startKit({ eventsMax: 27 });
    const request = (dimension: string) => Array.from({ length: 24 }, (_, hour) => usageEvent({ dimension }, hour));
    expect(await kit.post("batchUsageEvent", { request: request("pod_hour").slice(0, 3) })).toMatchObject({
      status: 200,
    });
    const refused = await kit.post("usageEvent", usageEvent({}, 5));
    expect(refused).toMatchObject({ status: 503, body: expect.stringContaining("at most 27 booked events") });
    expect(await kit.events()).toHaveLength(3);
    await kit.control("reset", {});
    expect(await kit.post("usageEvent", usageEvent({}, 5))).toMatchObject({ status: 200 });
  });
});

describe("requests kept for people to read", () => {
  it("hold what was asked and answered, never a token, and the last 100 only", async () => {
    kit = await startKit();
    await kit.post("usageEvent", usageEvent());
    await kit.post("usageEvent", usageEvent(), { authorization: "Bearer nonsense" });
    await kit.control("faults", { standIn: "metering", kind: "DropAnswer" });
    await expect(kit.post("usageEvent", usageEvent({}, 2))).rejects.toThrow("fetch failed");
    await kit.list("usageStartDate=2026-11-01");
    const kept = await kit.control("requests/metering");
    expect(kept.body).toMatchObject({
      requests: [
        {
          at: new Date(NOW_MS).toISOString(),
          method: "POST",
          url: "/api/usageEvent?api-version=2018-08-31",
          callerClientId: OWNER,
          request: usageEvent(),
          status: 200,
          answer: { status: "Accepted" },
        },
        { status: 403, reason: "Invalid Compact JWS", answer: { code: "Forbidden" } },
        { request: usageEvent({}, 2), status: 0 },
        { method: "GET", status: 200, answer: [{ submittedQuantity: 10 }] },
      ],
    });
    expect(JSON.stringify(kept.body)).not.toMatch(/nonsense|eyJ/);
    for (let sent = 0; sent < 100; sent += 1) await kit.list("usageStartDate=2026-11-01", "x");
    const { body } = await kit.control("requests/metering");
    expect(body).toMatchObject({ requests: Array(100).fill({ status: 403 }) });
  });
});

describe("the clock that runs by itself", () => {
  it("gains speed - 1 seconds per second, keeps what it gained, and stops gaining at speed 1", async () => {
    kit = await startKit();
    const clock = async () => (await kit.control("clock")).body;
    await kit.control("clock", { speed: 61 });
    kit.time.nowMs += 10_000;
    expect(await clock()).toEqual({ offsetSeconds: 600, now: "2026-11-22T08:40:10.000Z", speed: 61 });
    await kit.control("clock", { speed: 1 });
    kit.time.nowMs += 10_000;
    expect(await clock()).toMatchObject({ offsetSeconds: 600, speed: 1 });
    kit.time.nowMs -= 60_000;
    expect(await clock()).toMatchObject({ offsetSeconds: 600 });
    await kit.control("clock", { speed: 2.5 });
    kit.time.nowMs += 1000;
    expect(await clock()).toMatchObject({ offsetSeconds: 601 });
    kit.time.nowMs -= 60_000;
    expect(await clock()).toMatchObject({ offsetSeconds: 601 });
    expect(await kit.control("clock", { speed: 0.5 })).toMatchObject({ status: 400 });
  });
});

describe("HTTPS", () => {
  it("serves the metering API under the name of Azure, with a certificate of one's own", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "emulator-tls-"));
    const [certFile, keyFile] = [path.join(folder, "tls.crt"), path.join(folder, "tls.key")];
    const name = "marketplaceapi.microsoft.com";
    const made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" ");
    const named = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
    await promisify(execFile)("openssl", [...made, ...named, "-keyout", keyFile, "-out", certFile]);
    const [cert, key] = [readFileSync(certFile, "utf8"), readFileSync(keyFile, "utf8")];
    kit = await startKit({ tls: { host: "127.0.0.1", port: 0, cert, key } });
    const { port } = new URL(kit.tlsUrl);
    const authorization = `Bearer ${await kit.token()}`;
    const status = await new Promise((resolve, reject) => {
      const call = httpsRequest(
        {
          host: "127.0.0.1",
          port,
          servername: name,
          ca: cert,
          method: "POST",
          path: "/api/usageEvent?api-version=2018-08-31",
          headers: { host: name, authorization, "content-type": "application/json" },
        },
        (response) => resolve(response.resume().statusCode),
      );
      call.on("error", reject);
      call.end(JSON.stringify(usageEvent()));
    });
    expect(status).toBe(200);
    expect(await kit.events()).toHaveLength(1);
    rmSync(folder, { recursive: true });
  });
});
