import { type Control, controlSchema } from "#core/api/pod-config.ts";
import { readMetered } from "#core/exposition.ts";
import { openCounters, type Counters } from "#runtime/counters.ts";
import { createHolds, type Holds } from "#runtime/holds.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { openControlFile } from "../../services/meter/sidecar/control-file.ts";
import { createSidecarMetrics } from "../../services/meter/sidecar/metrics.ts";
import { followPodUsage } from "../../services/meter/sidecar/pod-usage.ts";
import type { Scraper } from "../../services/meter/sidecar/prometheus.ts";
import { createSidecar, type Sidecar } from "../../services/meter/sidecar/sidecar.ts";
import { openStateLog } from "../../services/meter/sidecar/state-log.ts";
import type { LogFate } from "./events.ts";
import { countHeld } from "./held.ts";
import { peekFile, pokeFile } from "./memory-fs.ts";
import { PodLife } from "./pod-life.ts";
import type { PodDoor, PodProcesses } from "./pod-processes.ts";
import { USED } from "./catalogues.ts";
import { SCRAPE_SECONDS } from "./setup.ts";

const FINAL_MS = 10_000;
const nothing = (): void => undefined;
const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** A pod with the product's counter file, log, follower and sidecar, all of it, on files in memory. */
export function startFullPod(door: PodDoor): PodProcesses {
  let boots = 1;
  const file = (name: string): string => `/${door.uid}/${name}`;
  const open = (): Counters =>
    openCounters({
      file: file("counters"),
      dimensions: USED.map(([dimension]) => dimension),
      bootId: `boot${boots}`,
    });
  let counters = open();
  const newHolds = (): Holds =>
    createHolds({
      total: (dimension) => counters.total(dimension),
      epoch: counters.epoch,
      control: () => readControl(file("control.json")),
      monotonicMs: () => door.nowMs(),
    });
  let holds = newHolds();
  const echo = (): void => {
    const leases = holds.echo();
    if (Object.keys(leases).length > 0) counters.echo({ configDigest: "", controlDigest: "", mode: "", leases });
  };
  let earlier = peekFile(file("counters"));
  const scrape = (): Scrape => scrapeOf(counters.exposition(), door);
  let [life, sidecar] = startSidecar(door, { file, scrape });
  const crashService = (): void => {
    counters.close();
    counters = open();
    holds = newHolds();
  };
  const crashSidecar = (log: LogFate): void => {
    life.isDead = true;
    damageLog(file("usage.log"), log);
    [life, sidecar] = startSidecar(door, { file, scrape });
  };
  return {
    count(dimension, amount) {
      if (sidecar.notReady() !== undefined) return false;
      return countHeld(holds, { [dimension]: amount }, () => {
        earlier = peekFile(file("counters"));
        counters.count({ [dimension]: amount });
      });
    },
    wake() {
      echo();
      life.wake();
    },
    told: (object) => life.told(object),
    cut: () => life.cut(),
    async end() {
      life.isStopping = true;
      await sidecar.stop(FINAL_MS);
    },
    stop: () => void (life.isDead = true),
    crashService,
    dropCounters() {
      counters.close();
      pokeFile(file("counters"), earlier);
      counters = open();
    },
    crashSidecar,
    reboot(fileLost) {
      boots += 1;
      if (fileLost) pokeFile(file("counters"), undefined);
      crashService();
      earlier = peekFile(file("counters"));
      crashSidecar("Kept");
    },
  };
}

/** What the sidecar wrote for the service. */
function readControl(path: string): Control | undefined {
  const bytes = peekFile(path);
  return bytes && controlSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
}

type Scrape = Awaited<ReturnType<Scraper["scrape"]>>;

interface Parts {
  readonly file: (name: string) => string;
  readonly scrape: () => Scrape;
}

function startSidecar(door: PodDoor, { file, scrape }: Parts): [PodLife, Sidecar] {
  const life = new PodLife(door);
  const { clock, client } = life;
  const { uid, namespace } = door;
  const sidecar = createSidecar({
    uid,
    scrapeSeconds: SCRAPE_SECONDS,
    counterFile: file("counters"),
    scraper: { scrape: async () => scrape(), close: nothing },
    stateLog: openStateLog(`/${uid}`, SILENT),
    controlFile: openControlFile(file("control.json")),
    time: createServerTime(clock),
    clock,
    metrics: createSidecarMetrics(),
    log: SILENT,
    follow: (hooks) => followPodUsage({ client, clock, namespace, uid, log: SILENT, ...hooks }),
  });
  sidecar.start();
  return [life, sidecar];
}

function scrapeOf(text: string, door: PodDoor): Scrape {
  const fault = door.takeScrapeFault();
  if (fault === "Silent") return { ok: false, kind: "Unreachable", problem: "no answer" };
  const shown = fault === "Cut" ? text.slice(0, -3) : fault === "Duplicate" ? text + text : text;
  const scrape = readMetered(shown);
  return scrape.ok ? scrape : { ...scrape, kind: "Malformed" };
}

function damageLog(file: string, fate: LogFate): void {
  const bytes = peekFile(file);
  if (!bytes || fate === "Kept") return;
  if (fate === "Lost") return pokeFile(file, undefined);
  if (fate === "Torn") return pokeFile(file, bytes.slice(0, Math.max(0, bytes.length - 5)));
  const middle = Math.floor(bytes.length / 2);
  pokeFile(
    file,
    bytes.map((byte, index) => (index === middle ? byte ^ 0x10 : byte)),
  );
}
