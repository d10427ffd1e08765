import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { CHART, defaultValues, refusal } from "./helm.ts";

const page = readFileSync(join(CHART, "README.md"), "utf8");

describe("the chart's README", () => {
  it("has every top-level key of values.yaml in its table, and no other", () => {
    const table = page.split("## Values")[1] ?? "";
    const keys = [...table.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`(\w+)`/g)].map((match) => match[1] ?? ""),
    );
    const values = z.record(z.string(), z.unknown()).parse(defaultValues());
    expect(keys.toSorted()).toEqual(Object.keys(values).toSorted());
  });

  it("shows production values that the schema takes", async () => {
    const block = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
    const values: unknown = parse(block.replace("sha256:…", `sha256:${"0".repeat(64)}`));
    expect(values).toMatchObject({ image: { digest: expect.stringContaining("sha256:0") } });
    expect(await refusal({ values })).toBe("");
  });
});
