import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CHART, defaultValues } from "./helm.ts";

const templates = readdirSync(join(CHART, "templates"), { recursive: true, encoding: "utf8" })
  .filter((file) => /\.(yaml|tpl|txt)$/.test(file))
  .map((file) => readFileSync(join(CHART, "templates", file), "utf8"));
const source = templates.join("\n");

/** Read through another name: `(index .Values .component).x`, `$values.x`, `get $azure …`. */
const COMPONENT = ["operator", "reporter"];
/** Open, filled by Azure: the offer's table of marketplace.md says which keys are read. */
const READ_BY_NAME = [
  "global.azure.identity.clientId",
  "global.azure.marketplace.planId",
  "global.azure.extension.resourceId",
];

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Paths of all values: leaves, and objects without keys. */
function pathsOf(value: unknown, prefix = ""): string[] {
  if (!isObject(value) || Object.keys(value).length === 0) return [prefix];
  return Object.entries(value).flatMap(([key, child]) => pathsOf(child, prefix === "" ? key : `${prefix}.${key}`));
}

/** Whether some template reads the path, its parent as a whole, or the same key of a component. */
function isRead(path: string): boolean {
  const [first = "", ...rest] = path.split(".");
  if (COMPONENT.includes(first)) {
    const tail = rest.join("\\.");
    return [
      `\\.Values\\.${first}\\.${tail}\\b`,
      `\\$values\\.${tail}\\b`,
      `component\\)\\.${tail}\\b`,
      `\\.Values\\.${first}\\.${rest[0]} `,
      `\\$(account|budget)\\.${rest.at(-1)}\\b`,
    ].some((pattern) => new RegExp(pattern).test(source));
  }
  if (READ_BY_NAME.includes(path)) return source.includes(`"${path.split(".").at(-1)}"`);
  const keys = path.split(".").join("\\)?\\.");
  return new RegExp(`\\.Values\\)?\\.${keys}\\b|\\$values\\.${keys}\\b`).test(source) || isReadWithin(path);
}

/** `((.Values.global).azure).images` and `(.Values.Azure).proxySettings`. */
function isReadWithin(path: string): boolean {
  return source.replaceAll(/[()]/g, "").includes(`.Values.${path}`);
}

describe("values.yaml", () => {
  const paths = pathsOf(defaultValues());

  it("holds enough to be worth checking", () => {
    expect(paths.length).toBeGreaterThan(60);
  });

  it.each(paths)("%s is read by a template", (path) => {
    expect(isRead(path)).toBe(true);
  });

  it("finds a value that no template reads", () => {
    expect(isRead("metering.planted")).toBe(false);
    expect(isRead("operator.planted")).toBe(false);
  });

  it("holds every path that a template reads", () => {
    const read = [...source.matchAll(/\.Values\.([A-Za-z][A-Za-z.]*[A-Za-z])/g)].map((match) => match[1] ?? "");
    expect(read.length).toBeGreaterThan(40);
    const known = (path: string): boolean =>
      path.split(".").reduce<unknown>((value, key) => (isObject(value) ? value[key] : undefined), defaultValues()) !==
      undefined;
    expect(read.filter((path) => !known(path) && path !== "Azure.proxySettings.proxyCert")).toEqual([]);
  });

  it("has a comment for every value, above it or above the block it stands in", () => {
    const lines = readFileSync(join(CHART, "values.yaml"), "utf8").split("\n");
    const bare = lines.filter(
      (line, index) =>
        /^ {0,2}[A-Za-z]+: *[^ {[]/.test(line) && !/#/.test(lines.slice(Math.max(0, index - 4), index).join("\n")),
    );
    expect(bare).toEqual([]);
  });
});
