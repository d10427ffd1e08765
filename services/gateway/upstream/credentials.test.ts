import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createUpstreamCredentials } from "./credentials.ts";
import { deployment } from "../test-world.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "credentials-"));
  file = join(folder, "key");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const azure = (): ReturnType<typeof deployment> => deployment("d", { modelUrl: "http://m", modelKeyFile: file });

describe("createUpstreamCredentials()", () => {
  it("gives Azure its key in api-key, others a bearer, nobody anything where auth is None", () => {
    writeFileSync(file, "secret-1\n");
    const credentials = createUpstreamCredentials({ current: () => "token-1" });
    expect(credentials.headerFor(azure())).toEqual({ ok: true, headers: { "api-key": "secret-1" } });
    expect(credentials.headerFor({ ...azure(), type: "OpenAI" })).toEqual({
      ok: true,
      headers: { authorization: "Bearer secret-1" },
    });
    expect(credentials.headerFor({ ...azure(), type: "ContentSafety" })).toEqual({
      ok: true,
      headers: { "ocp-apim-subscription-key": "secret-1" },
    });
    expect(credentials.headerFor({ ...azure(), auth: { type: "None" } })).toEqual({ ok: true, headers: {} });
    expect(credentials.headerFor({ ...azure(), auth: { type: "WorkloadIdentity" } })).toEqual({
      ok: true,
      headers: { authorization: "Bearer token-1" },
    });
  });

  it("reads a secret again when it changed, and keeps the old one while the new one is none", () => {
    writeFileSync(file, "secret-1");
    const credentials = createUpstreamCredentials({ current: () => undefined });
    credentials.headerFor(azure());
    writeFileSync(file, "two lines\nof text");
    credentials.refresh();
    expect(credentials.headerFor(azure())).toEqual({ ok: true, headers: { "api-key": "secret-1" } });
    writeFileSync(file, "secret-2");
    credentials.refresh();
    expect(credentials.headerFor(azure())).toEqual({ ok: true, headers: { "api-key": "secret-2" } });
  });

  it("says why there is no credential, without a secret", () => {
    const credentials = createUpstreamCredentials({ current: () => undefined });
    expect(credentials.headerFor(azure())).toMatchObject({ ok: false, reason: expect.stringContaining("ENOENT") });
    writeFileSync(file, "se cret");
    credentials.refresh();
    expect(credentials.headerFor(azure())).toEqual({
      ok: false,
      reason: `Cannot read ${file}: it must be one line of 1 to 16384 printable ASCII characters`,
    });
    expect(credentials.headerFor({ ...azure(), auth: { type: "WorkloadIdentity" } })).toEqual({
      ok: false,
      reason: "no token of the workload identity has been had yet",
    });
  });
});
