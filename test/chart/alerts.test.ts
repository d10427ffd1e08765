import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { describe, expect, it } from "vitest";
import { find, MAJORS, render } from "./helm.ts";

describe("the PrometheusRule", () => {
  it("is not rendered by default: not every cluster has its definition", async () => {
    expect((await render()).filter((one) => one.kind === "PrometheusRule")).toEqual([]);
  });

  it.each(MAJORS)("holds files/alerts.yaml as it is, with the labels asked for, with Helm %i", async (major) => {
    const values = { alerts: { enabled: true, labels: { release: "prometheus" } } };
    const rule = find(await render({ major, values }), "PrometheusRule", "supercargo");
    expect(rule).toMatchObject({
      apiVersion: "monitoring.coreos.com/v1",
      metadata: { labels: { release: "prometheus" } },
    });
    expect(rule["spec"]).toEqual(parse(readFileSync("charts/supercargo/files/alerts.yaml", "utf8")));
  });
});
