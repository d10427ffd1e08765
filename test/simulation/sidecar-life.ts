import { join } from "node:path";
import { EMPTY_STATE } from "#core/sidecar-fold.ts";
import { openStateLog } from "../../services/meter/sidecar/state-log.ts";
import type { PortCall } from "../fakes/mortal.ts";
import { createPodWorld, type PodWorld, SPEC } from "../fakes/pod-world.ts";
import { clearFiles, guardFileCalls, losePageCache, peekFile, pokeFile } from "./memory-fs.ts";
import { PodAccount } from "./sidecar-account.ts";
import { Strike, type StrikePlan } from "./strike.ts";

/** S and K of this life. */
const SCRAPE_SECONDS = 20;
const CHECKPOINT_SECONDS = 60;
/** A sidecar that ended is away for a moment. */
const SLACK_SECONDS = 5;
const RESTART_MS = 1000;
const START_MS = Date.parse("2026-11-22T08:57:00Z");
/** When the hours 8 and 9 end: the first by itself, the second as the demo's clock jumps over its end. */
const EDGE_SECONDS = 180;
const JUMP_SECONDS = 640;
const REBOOTS = [425, 527] as const;
const END_SECONDS = 775;
/** The log is rewritten beyond 64 KiB: so much stands in it from before. */
const LOG_BYTES = 64 * 1024 - 1500;

const HOUR_ENDS: Readonly<Record<string, number>> = {
  2026112207: 0,
  2026112208: EDGE_SECONDS,
  2026112209: JUMP_SECONDS,
};

export interface LifeReport {
  /** The sidecar's calls, by name. */
  readonly calls: readonly string[];
  readonly problems: readonly string[];
}

interface Life {
  readonly world: PodWorld;
  readonly strike: Strike;
  readonly moment: StrikePlan["moment"];
  readonly account: PodAccount;
  /** The counter file as it was some time ago. */
  olderFile: Uint8Array | undefined;
  /** Somebody else writes the object just before the sidecar does. */
  isConflictDue: boolean;
  seconds: number;
  /** The last words are being said. */
  isEnding: boolean;
  /** It died with them unsaid. */
  isCutShort: boolean;
  cancelRestart: () => void;
}

/** All that happens in a pod's life, by its second. Between a use and an edge or a reboot lies whatever time it needs. */
const STORY: readonly (readonly [number, (life: Life) => void])[] = [
  [3, ({ world }) => world.server.create({ ...SPEC, checkpointSeconds: CHECKPOINT_SECONDS })],
  [5, (life) => use(life, { a: 3n })],
  [30, (life) => void (life.isConflictDue = true)],
  [60, (life) => use(life, { a: 4n, b: 2n })],
  [110, (life) => changeGrants(life, { term: 2, clockOffsetSeconds: 0 })],
  [EDGE_SECONDS - 1, (life) => use(life, { a: 5n })],
  [300, (life) => use(life, { a: 7n })],
  [310, (life) => void (life.olderFile = peekFile(counterFile(life)))],
  // The service's container ends and starts on its file: the same epoch.
  [330, ({ world }) => void (world.answer = () => undefined)],
  [340, (life) => startService(life, "boot")],
  [345, (life) => use(life, { a: 1n })],
  [400, (life) => use(life, { a: 6n, b: 1n })],
  // The node starts again, with a counter file that is older than the newest scrape.
  [REBOOTS[0], (life) => reboot(life, life.olderFile)],
  [440, (life) => startService(life, "boot-2")],
  [480, ({ account, world }) => account.noteReboot(world.server.stored()?.status, REBOOTS[0])],
  // A counter that climbs past its old value unseen.
  [485, (life) => use(life, { a: 40n, b: 1n })],
  [505, (life) => use(life, { a: 2n })],
  // And again, without any counter file.
  [REBOOTS[1], (life) => reboot(life, undefined)],
  [541, (life) => startService(life, "boot-3")],
  [595, ({ account, world }) => account.noteReboot(world.server.stored()?.status, REBOOTS[1])],
  [600, (life) => use(life, { a: 50n, b: 9n })],
  [JUMP_SECONDS, (life) => changeGrants(life, { term: 2, clockOffsetSeconds: 3600 })],
  [700, (life) => use(life, { a: 9n })],
  [END_SECONDS - 1, (life) => use(life, { a: 2n, b: 1n })],
  [END_SECONDS, end],
  [END_SECONDS + 12, () => undefined],
];

const FULL_LOG = fullLog();

/** A sidecar's whole life, struck as planned. */
export async function live(plan: StrikePlan): Promise<LifeReport> {
  const { moment } = plan;
  clearFiles();
  const strike = new Strike(plan, () => die(life));
  const world = createPodWorld({
    spec: "None",
    scrapeSeconds: SCRAPE_SECONDS,
    startMs: START_MS,
    isIdle: true,
    guard: (call) => strike.port({ ...call, run: () => observe(life, call) }),
  });
  const life: Life = {
    world,
    strike,
    moment,
    account: new PodAccount({
      dimensions: ["a", "b"],
      hourEnds: HOUR_ENDS,
      windowSeconds: CHECKPOINT_SECONDS + SCRAPE_SECONDS + SLACK_SECONDS,
      mayLose: moment === "DiesWithLog" || moment === "Fails" || moment === "FailsDone",
    }),
    olderFile: undefined,
    isConflictDue: false,
    seconds: 0,
    isEnding: false,
    isCutShort: false,
    cancelRestart: () => undefined,
  };
  pokeFile(logFile(life), FULL_LOG);
  guardFileCalls((call) => strike.file(call));
  restart(life);
  for (const [seconds, happen] of STORY) {
    await world.clock.advance((seconds - life.seconds) * 1000);
    life.seconds = seconds;
    byOthers(life, () => happen(life));
  }
  guardFileCalls();
  life.account.judgeEnd(world.server.stored()?.status, life.isCutShort ? END_SECONDS : undefined);
  world.end();
  return { calls: strike.calls, problems: life.account.problems };
}

/** The judge of each write sees what the API server holds then; before some writes another writer comes first. */
async function observe<T>(life: Life, { name, run }: PortCall<T>): Promise<T> {
  const { server, clock } = life.world;
  if (name !== "updateStatus") return run();
  if (life.isConflictDue) server.setSpec({});
  life.isConflictDue = false;
  const before = server.stored()?.status;
  const answer = await run();
  const after = server.stored()?.status;
  const { isEnding } = life;
  if (after) life.account.judgeWrite({ before, after, livedMs: clock.monotonic(), isEnding });
  return answer;
}

function use(life: Life, amounts: Readonly<Record<string, bigint>>): void {
  life.world.counters.count(amounts);
  life.account.use(life.seconds, amounts);
}

function changeGrants({ world }: Life, grants: { readonly term: number; readonly clockOffsetSeconds: number }): void {
  if (SPEC.grants) world.server.setSpec({ grants: { ...SPEC.grants, ...grants } });
}

function startService({ world }: Life, bootId: string): void {
  world.startService(bootId);
  world.answer = undefined;
}

/** The sidecar is back before the service, as it is an init container. */
function reboot(life: Life, counters: Uint8Array | undefined): void {
  life.strike.isDead = true;
  die(life, false);
  life.world.answer = () => undefined;
  losePageCache();
  pokeFile(counterFile(life), counters);
}

/** A container that ends is started again; not once its pod ends. */
function die(life: Life, mayLoseLog = true): void {
  life.world.stopDead();
  life.cancelRestart();
  if (mayLoseLog && life.moment === "DiesWithLog") pokeFile(logFile(life), undefined);
  if (life.isEnding) life.isCutShort = true;
  else life.cancelRestart = life.world.clock.after(RESTART_MS, () => restart(life));
}

/** A process that cannot start ends, and is started again. */
function restart(life: Life): void {
  life.strike.isDead = false;
  try {
    life.world.revive();
  } catch {
    life.strike.isDead = true;
    die(life);
  }
}

/** SIGTERM comes when the service is gone, with units that nobody has scraped. */
function end(life: Life): void {
  life.isEnding = true;
  life.isConflictDue = true;
  life.world.answer = () => undefined;
  life.isCutShort = life.strike.isDead;
  life.cancelRestart();
  life.strike.isPaused = false;
  void life.world.sidecar.stop(10_000).catch(() => undefined);
}

function byOthers(life: Life, happen: () => void): void {
  life.strike.isPaused = true;
  happen();
  life.strike.isPaused = false;
}

/** The log of an earlier life of the sidecar, in which it saw nothing: nearly full. */
function fullLog(): Uint8Array {
  const log = openStateLog("/full", { warn: () => undefined, error: () => undefined });
  let bytes: Uint8Array | undefined;
  for (let size = 0; size < LOG_BYTES; size = bytes.length) {
    log.store(EMPTY_STATE);
    bytes = peekFile("/full/usage.log") ?? new Uint8Array(LOG_BYTES);
  }
  log.close();
  return bytes ?? new Uint8Array();
}

function logFile(life: Life): string {
  return join(life.world.folder, "log", "usage.log");
}

function counterFile(life: Life): string {
  return join(life.world.folder, "counters");
}
