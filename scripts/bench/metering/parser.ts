/** Samples per second of our parser, beside prom-client's text and the npm parser, in interleaved rounds: prints JSON. */
import parsePrometheusTextFormat from "parse-prometheus-text-format";
import { Counter, Histogram, Registry } from "prom-client";
import { createMeteredReader, createSeriesMemory, parseExposition } from "#core/exposition.ts";

const ROUNDS = 12;
const SERIES = 5000;
/** As large as the pieces that arrive from a socket. */
const CHUNK_CHARS = 65_536;

const registry = new Registry();
const histogram = new Histogram({
  name: "http_request_duration_seconds",
  help: "Duration of requests.",
  labelNames: ["route", "method"],
  registers: [registry],
});
const counter = new Counter({ name: "things_total", help: "Things.", labelNames: ["a", "b"], registers: [registry] });
// Eleven buckets, +Inf, sum and count.
for (let n = 0; n < 350; n += 1) histogram.observe({ route: `/v1/things/${n % 35}`, method: `M${n % 10}` }, n / 100);
for (let n = 0; (await countSeries()) < SERIES && n < SERIES; n += 100)
  for (let i = n; i < n + 100; i += 1) counter.inc({ a: String(i), b: "label" }, i * 1.5);

const metered = 'metering_epoch_info{epoch="e"} 1\nsupercargo_usage_total{dimension="tool_action"} 12\n';
const text = `${await registry.metrics()}${metered}`;
const samples = await countSeries(text);
const memory = createSeriesMemory();

const ways: Record<string, () => unknown> = {
  "ours, as the sidecar reads: every line checked, metered series kept": () => {
    const reader = createMeteredReader(memory);
    for (let from = 0; from < text.length; from += CHUNK_CHARS) reader.feed(text.slice(from, from + CHUNK_CHARS));
    const read = reader.end();
    if (!read.ok) throw new Error(read.problem);
    return read;
  },
  "ours, every sample as an object": () => {
    const read = parseExposition(text);
    if (!read.ok) throw new Error(read.problem);
    return read;
  },
  "parse-prometheus-text-format 1.1.1": () => parsePrometheusTextFormat(text),
  "prom-client 15.1.3 printing the same": () => registry.metrics(),
};

const best = new Map<string, number>();
for (let round = 0; round < ROUNDS; round += 1)
  for (const [name, run] of Object.entries(ways)) {
    const cpu = process.cpuUsage();
    await run();
    const used = process.cpuUsage(cpu);
    best.set(name, Math.min(best.get(name) ?? Infinity, (used.user + used.system) / 1_000_000));
  }
const perSecond = Object.fromEntries([...best].map(([name, seconds]) => [name, Math.round(samples / seconds)]));
process.stdout.write(`${JSON.stringify({ samples, bytes: text.length, perSecond })}\n`);

async function countSeries(of?: string): Promise<number> {
  return (of ?? (await registry.metrics())).split("\n").filter((line) => line !== "" && !line.startsWith("#")).length;
}
