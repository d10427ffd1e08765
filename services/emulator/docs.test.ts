import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { readConfig, SETTINGS } from "./config.ts";
import { faultSchema, ROUTES } from "./faults.ts";
import { seedSchema } from "./seed.ts";
import { startKit } from "./test-kit.ts";
import { switchesSchema } from "./switches.ts";

const page = readFileSync(path.join(import.meta.dirname, "../../docs/emulator.md"), "utf8");
const blocks = (language: string): string[] =>
  [...page.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, "g"))].map((match) => match[1] ?? "");
/** Blocks that need what a test machine does not have. */
const NEEDS = /^\s*(docker|kubectl) /m;

describe("the commands of docs/emulator.md, as they are written, against the real process", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "emulator-docs-"));
  const script = blocks("sh").filter((block) => !NEEDS.test(block));
  let stdout = "";
  beforeAll(async () => {
    const free = { HOST: "127.0.0.1", PORT: "0", CONTROL_PORT: "0", IMDS_HOST: "127.0.0.1", IMDS_PORT: "0" };
    const child = spawn(process.execPath, [path.join(import.meta.dirname, "main.ts")], { env: free });
    const [line] = await once(child.stdout, "data");
    child.stdout.resume();
    const urls = z
      .object({ url: z.url(), controlUrl: z.url(), imdsUrl: z.url() })
      .parse(JSON.parse(String(line).split("\n")[0] ?? ""));
    const env = { PATH: "/usr/bin:/bin", AZURE: urls.url, CONTROL: urls.controlUrl, IMDS: urls.imdsUrl };
    const run = promisify(execFile)("sh", ["-eu", "-c", script.join("\n")], { env, cwd: folder, timeout: 60_000 });
    stdout = await run.then(
      (done) => done.stdout,
      (error: unknown) => `${String(error)}\n${z.object({ stdout: z.string() }).parse(error).stdout}`,
    );
    child.kill("SIGTERM");
  }, 90_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("are there", () => {
    expect([script.length, blocks("sh").length]).toEqual([4, 7]);
  });

  it("print what the page says, in its order", () => {
    const expected = [...script.join("\n").matchAll(/^#> (.*)$/gm)].map((match) => match[1] ?? "");
    expect(expected.length).toBeGreaterThan(20);
    let rest = stdout;
    for (const text of expected) {
      const at = rest.indexOf(text);
      if (at < 0) expect.fail(`The commands did not print ${text} after the texts before it. They printed:\n${stdout}`);
      rest = rest.slice(at + text.length);
    }
  });
});

describe("the manifests of docs/emulator.md", () => {
  const containerSchema = z.object({
    name: z.string(),
    env: z.array(z.object({ name: z.string(), value: z.string() })).default([]),
  });
  const podSchema = z.object({
    initContainers: z.array(containerSchema).default([]),
    containers: z.array(containerSchema),
  });
  const objects = blocks("yaml")
    .flatMap((block) => parseAllDocuments(block))
    .map((document): unknown => document.toJS());
  const seeds = objects.flatMap((object) => {
    const configMap = z.object({ data: z.object({ "resources.yaml": z.string() }) }).safeParse(object);
    if (configMap.success) return [parseAllDocuments(configMap.data.data["resources.yaml"])[0]?.toJS() as unknown];
    return z.object({ resources: z.unknown() }).safeParse(object).success ? [object] : [];
  });

  it("hold resources that the emulator takes", () => {
    expect(seeds).toHaveLength(2);
    for (const seed of seeds) expect(seedSchema.parse(seed).resources).toHaveLength(1);
  });

  it("set only what the emulator knows, and it starts with it", () => {
    const pods = objects.flatMap(
      (object) =>
        z.object({ spec: z.object({ template: z.object({ spec: podSchema }) }) }).safeParse(object).data ?? [],
    );
    const containers = pods.flatMap(({ spec }) => [
      ...spec.template.spec.initContainers,
      ...spec.template.spec.containers,
    ]);
    const set = containers.filter(({ env }) => env.length > 0);
    expect(set.map(({ name }) => name)).toEqual(["emulator", "imds"]);
    for (const { env } of set) {
      expect(env.map(({ name }) => name).filter((name) => !SETTINGS.includes(name))).toEqual([]);
      const values = Object.fromEntries(
        env.filter(({ name }) => name !== "RESOURCES_FILE").map(({ name, value }) => [name, value]),
      );
      expect(() => readConfig(values)).not.toThrow();
    }
  });
});

describe("the tables of docs/emulator.md", () => {
  it("have a row for each switch, with its values, meaning and source", () => {
    expect(tableAfter("switch")).toEqual(switchRows());
  });

  it("have a row for each fault, with its fields and effect", () => {
    expect(tableAfter("kind")).toEqual(faultRows());
  });

  it("name each setting", () => {
    const named = [...page.slice(page.indexOf("## Settings")).matchAll(/`([A-Z][A-Z_]+)`/g)].map((match) => match[1]);
    expect(SETTINGS.filter((name) => !named.includes(name))).toEqual([]);
  });

  it.each(Object.entries(ROUTES))("name the routes of %s", (standIn, routes) => {
    expect(page).toContain(`${standIn} ${routes.map((route) => `\`${route}\``).join(", ")}`);
  });

  it("name every path that is served", async () => {
    const kit = await startKit();
    const found = await Promise.all(
      [kit.url, kit.controlUrl, kit.imdsUrl].map(async (url) => {
        const body: unknown = await (await fetch(`${url}/no-such-path`)).json();
        return z.object({ error: z.object({ paths: z.array(z.string()).min(1) }) }).parse(body).error.paths;
      }),
    );
    await kit.stop();
    const served = found.flat().map((one) => one.replace(/\/$/, "").replace("/openai/v1/", "/v1/"));
    expect(served.length).toBeGreaterThan(30);
    const named = page.replace(/\{([a-z,-]+)\}/g, "{…}");
    expect(served.filter((one) => !named.includes(one) && !isInBraces(one))).toEqual([]);
  });
});

/** Whether the page names a path as one of `/control/resources/{a,b}`. */
function isInBraces(served: string): boolean {
  const cut = served.lastIndexOf("/");
  return [...page.matchAll(/(\/[a-z0-9/]+\/)\{([a-z,-]+)\}/g)].some(
    ([, prefix, names]) => prefix === served.slice(0, cut + 1) && names?.split(",").includes(served.slice(cut + 1)),
  );
}

/** The cells of the table whose first head is this word. */
function tableAfter(head: string): string[][] {
  const lines = page.split("\n");
  const start = lines.findIndex((line) => new RegExp(`^\\| ${head} +\\|`).test(line));
  const rows = lines.slice(start + 2);
  const end = rows.findIndex((line) => !line.startsWith("|"));
  return rows.slice(0, end).map((line) => line.split(" | ").map((cell) => cell.replace(/^\| | *\|$/g, "").trim()));
}

const propertySchema = z.object({
  type: z.string().optional(),
  default: z.unknown(),
  description: z.string(),
  from: z.string(),
  enum: z.array(z.unknown()).optional(),
  anyOf: z.array(z.object({ const: z.unknown().optional() })).optional(),
});

function switchRows(): string[][] {
  const { properties } = z.toJSONSchema(switchesSchema, { io: "input" });
  return Object.entries(properties ?? {}).map(([name, schema]) => {
    const { type, description, from, ...rest } = propertySchema.parse(schema);
    const others =
      type === "boolean" ? [true, false] : (rest.enum ?? rest.anyOf?.flatMap((one) => one.const ?? []) ?? []);
    const values = [rest.default, ...others.filter((value) => value !== rest.default)];
    return [`\`${name}\``, values.map(showValue).join(", "), description, from];
  });
}

function showValue(value: unknown): string {
  return typeof value === "string" ? `\`${value === "" ? '""' : value}\`` : String(value);
}

function faultRows(): string[][] {
  const shape = z.object({
    oneOf: z.array(
      z.object({
        description: z.string(),
        properties: z.looseObject({ kind: z.object({ const: z.string() }) }),
      }),
    ),
  });
  const everywhere = ["kind", "standIn", "route", "skip", "count", "forSeconds", "until"];
  return shape.parse(z.toJSONSchema(faultSchema, { io: "input" })).oneOf.map(({ description, properties }) => {
    const fields = Object.keys(properties).filter((name) => !everywhere.includes(name));
    const shown = fields.map((name) => `\`${name}\``).join(", ");
    return [`\`${properties.kind.const}\``, shown === "" ? "–" : shown, description];
  });
}
