import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stringify } from "yaml";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { METRICS } from "#core/metric-names.ts";
import { tryCommand } from "../../scripts/run-command.ts";
import { ensurePromtool } from "../../scripts/tools/promtool.ts";

const RULES = resolve("charts/supercargo/files/alerts.yaml");
const HOUR_S = 3600;
let promtool: string;
let folder: string;

beforeAll(async () => {
  promtool = await ensurePromtool();
  folder = mkdtempSync(join(tmpdir(), "alerts-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Plays series to Prometheus' own rule engine: after `atHours` these alerts fire, by name and sorted. */
async function play(
  series: Readonly<Record<string, string>>,
  atHours: number,
  fires: readonly string[],
): Promise<string> {
  const names = [...new Set(fires)];
  const all = [
    "SupercargoHourNotClosed",
    "SupercargoUsageWaits",
    "SupercargoUsageWaitsTooLong",
    "SupercargoBacklog",
    "SupercargoDimensionParked",
    "SupercargoPostingStopped",
    "SupercargoMeteringProblem",
    "SupercargoClockSkew",
    "SupercargoUnattributed",
    "SupercargoUsageDropped",
    "SupercargoLimitNear",
    "SupercargoReceiptsWait",
    "SupercargoQuarantined",
    "SupercargoScrapeRejected",
    "SupercargoToolUsageRefused",
    "SupercargoDeploymentOut",
    "SupercargoIssuerKeysOld",
    "SupercargoRateLimitNear",
  ];
  const exprs = all.map((name) => ({
    expr: `count(ALERTS{alertname="${name}",alertstate="firing"})`,
    eval_time: `${atHours}h`,
    exp_samples: names.includes(name) ? [{ labels: "{}", value: fires.filter((one) => one === name).length }] : [],
  }));
  const file = join(folder, "test.yaml");
  const test = {
    rule_files: [RULES],
    evaluation_interval: "5m",
    tests: [
      {
        interval: "5m",
        input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
        promql_expr_test: exprs,
      },
    ],
  };
  writeFileSync(file, stringify(test));
  const { code, stdout, stderr } = await tryCommand([promtool, "test", "rules", file]);
  return code === 0 ? "" : `${stdout}${stderr}`;
}

describe("files/alerts.yaml", () => {
  it("is what promtool takes", async () => {
    const { code, stdout, stderr } = await tryCommand([promtool, "check", "rules", RULES]);
    expect(`${stdout}${stderr}`).toContain("SUCCESS");
    expect(code).toBe(0);
  });

  const days = (value: number, count: number): string => `${value}x${count * 24 * 12}`;
  it.each([
    ["nothing, while all is well", { [METRICS.reporterLastClosedHour]: "0+300x600" }, 40, []],
    [
      "a warning, then a page, for a slot without an answer",
      { [METRICS.reporterOldestOpenSlot]: days(1, 2) },
      7,
      ["SupercargoUsageWaits"],
    ],
    [
      "a page before Azure takes it no more",
      { [METRICS.reporterOldestOpenSlot]: days(1, 2) },
      21,
      ["SupercargoUsageWaits", "SupercargoUsageWaitsTooLong"],
    ],
    [
      "a reporter that closes no hour",
      { [METRICS.reporterLastClosedHour]: days(HOUR_S, 1) },
      6,
      ["SupercargoHourNotClosed"],
    ],
    ["usage in no slot for a day", { [METRICS.reporterOldestUnposted]: days(1, 3) }, 26, ["SupercargoBacklog"]],
    ["a parked dimension", { [METRICS.reporterParkedDimensions]: days(1, 1) }, 1, ["SupercargoDimensionParked"]],
    [
      "each problem with its weight",
      {
        [`${METRICS.reporterProblem}{reason="NoCredential"}`]: days(1, 1),
        [`${METRICS.reporterProblem}{reason="PostsStopped"}`]: days(1, 1),
        [`${METRICS.reporterProblem}{reason="ForeignWriter"}`]: days(1, 1),
        [`${METRICS.reporterProblem}{reason="SilentPods"}`]: days(0, 1),
      },
      1,
      ["SupercargoPostingStopped", "SupercargoPostingStopped", "SupercargoMeteringProblem"],
    ],
    ["a clock that is behind", { [METRICS.reporterClockSkewSeconds]: days(-61, 1) }, 1, ["SupercargoClockSkew"]],
    [
      "a share without an owner",
      { [`${METRICS.reporterUnattributed}{dimension="a"}`]: days(0.002, 1) },
      2,
      ["SupercargoUnattributed"],
    ],
    [
      "units written off",
      { [`${METRICS.reporterDroppedUnits}{dimension="a"}`]: "0x6 5x100" },
      2,
      ["SupercargoUsageDropped"],
    ],
    [
      "a limit that is near, and no other",
      {
        [`${METRICS.reporterLimitUsed}{dimension="a"}`]: days(0.81, 1),
        [`${METRICS.reporterLimitSoft}{dimension="a"}`]: days(0.8, 1),
        [`${METRICS.reporterLimitUsed}{dimension="b"}`]: days(0.79, 1),
        [`${METRICS.reporterLimitSoft}{dimension="b"}`]: days(0.8, 1),
      },
      1,
      ["SupercargoLimitNear"],
    ],
    [
      "receipts that nobody exports",
      { [`${METRICS.reporterStatementsWaiting}{for="export"}`]: days(3, 9) },
      170,
      ["SupercargoReceiptsWait"],
    ],
    ["a quarantined count", { [METRICS.sidecarQuarantined]: days(1, 1) }, 1, ["SupercargoQuarantined"]],
    [
      "counters that cannot be read",
      {
        [`${METRICS.sidecarScrapes}{result="rejected"}`]: "0x6 1x100",
        [`${METRICS.sidecarScrapes}{result="refused"}`]: "0x6 1x100",
      },
      1,
      ["SupercargoScrapeRejected"],
    ],
    [
      "usage that a tool may not report",
      {
        [`${METRICS.orchestratorUsageRefusals}{code="undeclared"}`]: "0x6 1x100",
        [`${METRICS.orchestratorUsageRefusals}{code="no_room"}`]: days(0, 1),
      },
      1,
      ["SupercargoToolUsageRefused"],
    ],
    [
      "a deployment that is out for an hour",
      { [`${METRICS.gatewayDeploymentState}{model="gpt",deployment="primary"}`]: "2x24" },
      1,
      ["SupercargoDeploymentOut"],
    ],
    [
      "an issuer whose keys were not fetched for an hour, and one that is well",
      {
        [`${METRICS.gatewayKeyAge}{issuer="https://down.example.com"}`]: "0+300x24",
        [`${METRICS.gatewayKeyAge}{issuer="https://well.example.com"}`]: "500x24",
      },
      1,
      ["SupercargoIssuerKeysOld"],
    ],
    [
      "a rate limit that is near all the time, and one that was near for a moment",
      {
        [`${METRICS.gatewayRateLimitNear}{limit="keys",unit="requests"}`]: "0+9x24",
        [`${METRICS.gatewayRateLimitNear}{limit="short",unit="tokens"}`]: "0 9 9x24",
      },
      1,
      ["SupercargoRateLimitNear"],
    ],
  ] as const)("fire for %s", async (_what, series, atHours, fires) => {
    expect(await play(series, atHours, fires)).toBe("");
  });
});
