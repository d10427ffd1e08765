/**
 * `npm run bench -- metering`, `-- gateway` or `-- probes`: measures, prints a table, and writes JSON to .cache/bench/NAME.json. Counts and ratios, for
 * people to judge: no test fails by them. Parts of the meter alone: `npm run bench -- metering parser reporter sidecar writes`.
 * `-- gateway-count`, `-- gateway-fuzz` and `-- gateway-soak` play at full size what tests play small, and end with 1 when something is wrong.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { arch, cpus, loadavg, release } from "node:os";
import { gatewayCount, gatewayFuzz, gatewaySoak } from "./gateway-traffic.ts";
import { benchMetering, PARTS } from "./metering.ts";
import { benchProbes } from "./probes.ts";
import { runScript } from "./run-script.ts";

const [what = "", ...args] = process.argv.slice(2);
const results: Record<string, () => Promise<unknown>> = {
  metering: () => benchMetering(args.length === 0 ? PARTS : args),
  probes: () => benchProbes(args),
  gateway: async () => JSON.parse(await runScript("scripts/bench/gateway.ts", args)),
  "gateway-count": () => gatewayCount(args),
  "gateway-fuzz": () => gatewayFuzz(args),
  "gateway-soak": () => gatewaySoak(args),
};
const run = results[what];
if (!run) {
  console.error(`Cannot bench as the name must be ${Object.keys(results).join(" or ")}: current value is "${what}"`);
  process.exit(1);
}
const machine = {
  node: process.version,
  cpus: `${cpus().length} x ${cpus()[0]?.model ?? arch()}`,
  kernel: release(),
  loadAverageBefore: loadavg()[0],
};
const result = await run();
const file = `.cache/bench/${what}.json`;
mkdirSync(".cache/bench", { recursive: true });
writeFileSync(file, `${JSON.stringify({ machine, result }, undefined, 2)}\n`);
if (what !== "metering") console.log(JSON.stringify(result, undefined, 2));
console.log(`Wrote ${file}`);
process.exit(hasProblems(result) ? 1 : 0);

function hasProblems(found: unknown): boolean {
  if (typeof found !== "object" || found === null || !("problems" in found)) return false;
  return Array.isArray(found.problems) && found.problems.length > 0;
}
