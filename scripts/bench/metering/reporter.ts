/** One leader with a fleet of 10,000 pods closes one hour: `node reporter.ts STUB_URL`; prints what it took. */
import "../../../services/meter/reporter/young-heap.ts";
import { monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";
import { Registry } from "prom-client";
import { systemClock, type Clock } from "#runtime/clock.ts";
import { createKubeClient } from "#runtime/kube/transport.ts";
import { createLogger } from "#runtime/log.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { HOUR_MS } from "#core/time.ts";
import { readEnvironment, readTerms } from "../../../services/meter/reporter/config.ts";
import type { Marketplace } from "../../../services/meter/reporter/desk.ts";
import { createTokenSource } from "../../../services/meter/reporter/identity.ts";
import { createKubeBooks } from "../../../services/meter/reporter/kube.ts";
import { createReporterMetrics } from "../../../services/meter/reporter/metrics.ts";
import { createReporter } from "../../../services/meter/reporter/reporter.ts";
import { DIMENSIONS, OFFER } from "./fleet.ts";
import { createBlockMeter } from "./block-meter.ts";

const server = process.argv[2] ?? "";
/** What a reporter's process loads besides; it is never asked for a token here. */
void createTokenSource;

const catalogue = {
  dimensions: DIMENSIONS.map((from) => ({ id: from, from, unit: "document", divisor: "1000" })),
  plans: [
    {
      id: "bench",
      displayName: "Bench",
      billing: "Custom",
      dimensions: DIMENSIONS.map((id) => ({ id, included: { quantity: "1000", per: "Month" } })),
    },
  ],
};

let aheadMs = 0;
// Between two cycles the leader waits for us.
let go = (): void => undefined;
const clock: Clock = {
  ...systemClock,
  now: () => systemClock.now() + aheadMs,
  sleep: (ms, signal) => (ms < 1000 ? systemClock.sleep(ms, signal) : new Promise((resolve) => void (go = resolve))),
};
const marketplace: Marketplace = {
  list: async () => ({ ok: true, rows: [] }),
  post: async (intents) =>
    intents.map((intent, n) => ({
      requestId: `request-${n}`,
      httpStatus: 200,
      status: "Accepted",
      quantity: Number(intent.quantity),
      usageEventId: `event-${n}`,
      resourceId: "11111111-1111-1111-1111-111111111111",
      dimension: intent.dimension,
      reasons: [],
    })),
};

const environment = readEnvironment({
  SUPERCARGO_POD_NAME: "reporter-0",
  SUPERCARGO_POD_NAMESPACE: "supercargo",
  SUPERCARGO_CLIENT_ID: "22222222-2222-2222-2222-222222222222",
  SUPERCARGO_PLAN_ID: "bench",
  SUPERCARGO_OFFER_RESOURCE_ID: OFFER,
});
const terms = readTerms(environment, JSON.stringify(catalogue));
const time = createServerTime(clock);
const client = createKubeClient({ server, clock });
const log = createLogger({ component: "reporter", level: process.argv[3] ?? "silent" });
const metrics = createReporterMetrics(new Registry(), terms);
const cycles: string[] = [];
let noteCycle = (): void => undefined;
let posted = 0;
const reporter = createReporter({
  books: createKubeBooks({ client, offerResourceId: terms.offerResourceId, onDate: (ms) => time.observe(ms), log }),
  marketplace,
  terms,
  time,
  clock,
  client,
  random: Math.random,
  log,
  metrics: {
    ...metrics,
    accepted: () => void (posted += 1),
    cycle(seen) {
      metrics.cycle(seen);
      cycles.push(seen.ledger.lastClosedHour);
      noteCycle();
    },
  },
  isLeader: () => true,
  readOffset: undefined,
});

const stopping = new AbortController();
const first = await measure("first", async () => {
  const done = nextCycle(() => true);
  void reporter.lead(stopping.signal);
  await done;
});
await systemClock.sleep(50);
// An hour passes: all pods have published its boundary.
const before = cycles.at(-1) ?? "";
const closing = await measure("closing", async () => {
  await fetchText("/ahead", String(HOUR_MS));
  aheadMs = HOUR_MS;
  const done = nextCycle(() => (cycles.at(-1) ?? "") > before);
  go();
  await done;
});
const { listedBytes } = JSON.parse(await fetchText("/bytes", ""));
stopping.abort(new Error("Done"));
process.stdout.write(
  `${JSON.stringify({
    first,
    closing,
    listedMiB: listedBytes / 1024 / 1024,
    peakRssMiB: process.resourceUsage().maxRSS / 1024,
    closedHour: cycles.at(-1),
    posted,
  })}\n`,
);
client.close();
process.exit(0);

async function measure(what: string, run: () => Promise<void>): Promise<Record<string, number | string>> {
  const blocks = createBlockMeter(systemClock);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  let longestGcMs = 0;
  const gcs = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) longestGcMs = Math.max(longestGcMs, entry.duration);
  });
  gcs.observe({ entryTypes: ["gc"] });
  delay.enable();
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  await run();
  const used = process.cpuUsage(cpu);
  delay.disable();
  gcs.disconnect();
  return {
    what,
    cpuSeconds: (used.user + used.system) / 1_000_000,
    wallSeconds: (performance.now() - startMs) / 1000,
    longestBlockCpuMs: blocks.stop(),
    longestBlockWallMs: delay.max / 1_000_000,
    longestGcMs,
  };
}

async function nextCycle(isIt: () => boolean): Promise<void> {
  await new Promise<void>((resolve) => {
    noteCycle = () => {
      if (isIt()) resolve();
    };
  });
}

async function fetchText(path: string, body: string): Promise<string> {
  const response = await fetch(`${server}${path}`, { method: "POST", body });
  return response.text();
}
