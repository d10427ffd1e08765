/** A sidecar as its main.ts wires it, against a given API server: `node sidecar-rest.js OPTIONS_JSON`; runs until killed. */
import "../../../services/meter/sidecar/small-heap.ts";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#runtime/clock.ts";
import { createKubeClient } from "#runtime/kube/transport.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { openControlFile } from "../../../services/meter/sidecar/control-file.ts";
import { createSidecarLog } from "../../../services/meter/sidecar/log.ts";
import { createSidecarMetrics } from "../../../services/meter/sidecar/metrics.ts";
import { followPodUsage } from "../../../services/meter/sidecar/pod-usage.ts";
import { createScraper } from "../../../services/meter/sidecar/prometheus.ts";
import { createSidecar } from "../../../services/meter/sidecar/sidecar.ts";
import { openStateLog } from "../../../services/meter/sidecar/state-log.ts";

const options: { server: string; certificates: string; folder: string; url: string; namespace: string; uid: string } =
  JSON.parse(process.argv[2] ?? "{}");
const file = (name: string): string => readFileSync(join(options.certificates, name), "utf8");
const log = createSidecarLog("warn", (line) => process.stderr.write(line));
const client = createKubeClient({
  server: options.server,
  ca: file("ca.crt"),
  cert: file("admin.crt"),
  key: file("admin.key"),
  userAgent: "supercargo-sidecar",
  clock: systemClock,
});
createSidecar({
  uid: options.uid,
  scrapeSeconds: 5,
  counterFile: join(options.folder, "counters"),
  scraper: createScraper(options.url, systemClock),
  stateLog: openStateLog(join(options.folder, "log"), log),
  controlFile: openControlFile(join(options.folder, "control.json")),
  time: createServerTime(systemClock),
  clock: systemClock,
  metrics: createSidecarMetrics(),
  log,
  follow: (hooks) =>
    followPodUsage({ client, clock: systemClock, namespace: options.namespace, uid: options.uid, log, ...hooks }),
}).start();
