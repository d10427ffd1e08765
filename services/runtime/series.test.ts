import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { createCounterFamily, createHistogramFamily, SERIES_MAX } from "./series.ts";

const family = (registry: Registry) => ({ registry, name: "work", help: "Work.", labelNames: ["model"] });

describe("createHistogramFamily", () => {
  it("writes cumulative buckets, sum and count", async () => {
    const registry = new Registry();
    const histogram = createHistogramFamily({ ...family(registry), buckets: [1, 2, 4] });
    for (const value of [0.5, 1, 1.5, 4, 9]) histogram.series({ model: "gpt" }).observe(value);
    expect(await registry.metrics()).toBe(
      [
        "# HELP work Work.",
        "# TYPE work histogram",
        'work_bucket{le="1",model="gpt"} 2',
        'work_bucket{le="2",model="gpt"} 3',
        'work_bucket{le="4",model="gpt"} 4',
        'work_bucket{le="+Inf",model="gpt"} 5',
        'work_sum{model="gpt"} 16',
        'work_count{model="gpt"} 5',
        "",
      ].join("\n"),
    );
  });
});

describe("createCounterFamily", () => {
  it("shows a series from 0 on", async () => {
    const registry = new Registry();
    const counter = createCounterFamily(family(registry));
    counter.series({ model: "gpt" }).add(0);
    counter.series({ model: "big" }).add(3);
    counter.series({ model: "big" }).add(4);
    expect(await registry.metrics()).toBe(
      '# HELP work Work.\n# TYPE work counter\nwork{model="gpt"} 0\nwork{model="big"} 7\n',
    );
  });

  it("puts what comes behind the last place into `other`", async () => {
    const registry = new Registry();
    const counter = createCounterFamily(family(registry));
    for (let at = 0; at < SERIES_MAX + 5; at += 1) counter.series({ model: `m${at}` }).add(1);
    const lines = (await registry.metrics()).split("\n").filter((line) => line.startsWith("work{"));
    expect(lines).toHaveLength(SERIES_MAX + 1);
    expect(lines.at(-1)).toBe('work{model="other"} 5');
  });
});
