import { Counter } from "prom-client";
import { describe, expect, it } from "vitest";
import { createMetrics } from "./metrics.ts";

describe("createMetrics()", () => {
  it("prints the metered series as the counter file has them, then the registry", async () => {
    const metrics = createMetrics({ metered: { exposition: () => "metered 1\n" }, nodeMetrics: false });
    new Counter({ name: "own_total", help: "h", registers: [metrics.registry] }).inc(2);
    const { text, contentType } = await metrics.exposition();
    expect(text).toBe("metered 1\n# HELP own_total h\n# TYPE own_total counter\nown_total 2\n");
    expect(contentType).toMatch(/^text\/plain; version=0\.0\.4/);
  });

  it("prints what the registry would, with a turn of the event loop between two families", async () => {
    const { registry, exposition } = createMetrics({ nodeMetrics: false });
    for (const name of ["one_total", "two_total", "three_total"])
      new Counter({ name, help: "h", registers: [registry] }).inc();
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    expect((await exposition()).text).toBe(await registry.metrics());
    isOver = true;
    expect(turns).toBeGreaterThanOrEqual(3);
  });

  it("keeps registries apart", async () => {
    const [one, two] = [createMetrics({ nodeMetrics: false }), createMetrics({ nodeMetrics: false })];
    new Counter({ name: "own_total", help: "h", registers: [one.registry] });
    expect((await two.exposition()).text.trim()).toBe("");
  });

  it("shows the delay of the event loop unless told not to", async () => {
    expect((await createMetrics().exposition()).text).toContain("nodejs_eventloop_lag_seconds");
  });
});
