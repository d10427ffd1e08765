import "../../services/meter/sidecar/small-heap.ts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { applyReading, applyTime, EMPTY_STATE } from "#core/sidecar-fold.ts";
import { systemClock } from "#runtime/clock.ts";
import { createKubeClient } from "#runtime/kube/transport.ts";
import { withHealth } from "#runtime/health.ts";
import { startServer } from "#runtime/server.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { stopOnSignal } from "#runtime/shutdown.ts";
import { environmentSchema } from "../../services/meter/sidecar/config.ts";
import { createSidecarLog } from "../../services/meter/sidecar/log.ts";
import { followPodUsage } from "../../services/meter/sidecar/pod-usage.ts";
import { createScraper } from "../../services/meter/sidecar/prometheus.ts";
import { createSidecar } from "../../services/meter/sidecar/sidecar.ts";
import { openStateLog } from "../../services/meter/sidecar/state-log.ts";

// All that the sidecar's process loads, 200 scrapes of the given address without pauses, then the memory in MiB.
// The service that is scraped must be another process: this one stands for the container.
void [createSidecar, createServerTime, environmentSchema, followPodUsage, startServer, withHealth, stopOnSignal];
const log = createSidecarLog("silent", (line) => process.stdout.write(line));
const client = createKubeClient({ server: "https://127.0.0.1:1", clock: systemClock });
const folder = mkdtempSync(join(tmpdir(), "sidecar-load-"));
const stateLog = openStateLog(folder, log);
const scraper = createScraper(process.argv[2] ?? "", systemClock);
let state = EMPTY_STATE;
for (let n = 0; n < 200; n += 1) {
  const scrape = await scraper.scrape();
  if (!scrape.ok) throw new Error(scrape.problem);
  const result = applyReading(state, { ...scrape, source: "Scrape" });
  if (!result.ok) throw new Error(result.problem);
  state = applyTime(result.state, { hour: "2026112208", nowMs: 1_000_000 + n * 5_000, upMs: 0 });
  stateLog.store({ ...state, sequence: String(n) });
}
process.stdout.write(
  JSON.stringify({ rssMiB: process.memoryUsage.rss() / 1024 / 1024, total: state.totals["tool_action"] }),
);
scraper.close();
client.close();
rmSync(folder, { recursive: true });
