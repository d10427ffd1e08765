import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { GatewayGuardrail } from "#core/api/pod-config.ts";
import { ERRORS } from "#core/errors.ts";
import { type Emulator, startEmulator } from "../../services/emulator/app.ts";
import { API_KEY, type GatewayWorld, MODEL_KEY, startGatewayWorld } from "../../services/gateway/test-world.ts";
import { CLIENT_KITS } from "../probes/client-kits.ts";

const page = readFileSync(resolve("docs/gateway.md"), "utf8");
const script = [...page.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? "").join("\n");

describe("the commands of docs/gateway.md, as they are written, against the real process", () => {
  let emulator: Emulator;
  let world: GatewayWorld;
  let stdout = "";

  beforeAll(async () => {
    emulator = await startEmulator({
      model: { auth: "Key", apiKeys: [MODEL_KEY], deployments: [] },
      contentSafety: { keys: ["safety-key"] },
    });
    world = await startGatewayWorld({
      modelUrl: emulator.url,
      rateLimits: [{ name: "key", per: "Key", mode: "Enforce", requestsPerMinute: 600 }],
      guardrails: ({ path }) => [shields(emulator.url, join(path, "safety-key")), ANSWERS],
    });
    const env = { PATH: "/usr/bin:/bin", GATEWAY: world.gateway.url, KEY: API_KEY };
    const run = await promisify(execFile)("sh", ["-eu", "-c", script], { env, timeout: 60_000 });
    stdout = run.stdout;
  }, 90_000);
  afterAll(async () => {
    await world?.stop();
    await emulator?.stop();
  });

  it("print what the page says, in its order", () => {
    const expected = [...script.matchAll(/^#> (.*)$/gm)].map((match) => match[1] ?? "");
    expect(expected.length).toBeGreaterThan(8);
    let rest = stdout;
    for (const text of expected) {
      const at = rest.indexOf(text);
      if (at < 0) expect.fail(`The commands did not print ${text} after the texts before it. They printed:\n${stdout}`);
      rest = rest.slice(at + text.length);
    }
  });
});

const ANSWERS: GatewayGuardrail = {
  type: "LocalRules",
  name: "answers",
  phase: "Output",
  action: "Mask",
  failureMode: "Closed",
  detect: ["Cards"],
  denyWords: [],
  allowWords: [],
};

/** The guardrail of the page's example. */
function shields(endpoint: string, file: string): GatewayGuardrail {
  writeFileSync(file, "safety-key");
  const common = { name: "shields", phase: "Input", action: "Reject", failureMode: "Closed" } as const;
  return { type: "PromptShields", ...common, endpoint, auth: { type: "SecretFile", file }, timeoutMs: 3000 };
}

describe("the table of errors in docs/gateway.md", () => {
  it("has a row for each status that a client can get", () => {
    const rows = [...page.matchAll(/^\| (\d{3}) +\|/gm)].map((match) => Number(match[1]));
    const statuses = new Set(Object.values(ERRORS).map(({ status }) => status));
    expect(rows).toEqual([...statuses].toSorted((a, b) => a - b));
  });
});

describe("the table of clients in docs/gateway.md", () => {
  it("names the versions that the tests run", () => {
    const { dependencies, devDependencies } = packageSchema.parse(JSON.parse(readFileSync("package.json", "utf8")));
    const versions = { ...dependencies, ...devDependencies };
    const rows = [...page.matchAll(/^\| `([\w@/-]+)`.*?\| (\d+\.\d+\.\d+) +\|/gm)];
    expect(rows.map(([, name = ""]) => name)).toEqual(Object.keys(CLIENT_KITS));
    expect(rows.map(([, , version]) => version)).toEqual(rows.map(([, name = ""]) => versions[name]));
  });
});

const versionsSchema = z.record(z.string(), z.string());
const packageSchema = z.object({ dependencies: versionsSchema, devDependencies: versionsSchema });
