import type { PodUsage, PodUsageStatus } from "#core/api/pod-usage.ts";
import {
  applyReading,
  applyTime,
  chooseState,
  EMPTY_STATE,
  fromPodUsage,
  type Reading,
  type SidecarState,
  toPodUsageStatus,
} from "#core/sidecar-fold.ts";
import { hourKey, toIso } from "#core/time.ts";
import { toControl } from "../../services/meter/sidecar/control-file.ts";
import { createHolds, type Holds } from "#runtime/holds.ts";
import type { LogFate } from "./events.ts";
import type { PodDoor, PodProcesses } from "./pod-processes.ts";
import { USED } from "./catalogues.ts";
import { type Ceilings, countHeld, echoOf } from "./held.ts";
import { CHECKPOINT_SECONDS } from "./setup.ts";

/** Files of the pod as values: what survives its processes. */
interface Disk {
  epoch: string;
  counters: Map<string, bigint>;
  log: SidecarState | undefined;
  /** The control file; nothing: no grant has arrived yet. */
  control: Ceilings | undefined;
}

/** A sidecar's memory. */
interface Mind {
  state: SidecarState;
  /** The log was whole, or the PodUsage has answered. */
  restored: boolean;
  object: PodUsage | undefined;
  published:
    | { readonly atMs: number; readonly totals: string; readonly hour: string; readonly leases: string }
    | undefined;
}

/**
 * A pod whose sidecar is the product's fold without the product's shell: no text, no bytes, no loop. Ten times as fast as
 * the real one, for histories in which the reporter is what matters; full-pod.ts has the shell.
 */
export function startLightPod(door: PodDoor): PodProcesses {
  let epochs = 0;
  const newEpoch = (): string => `e${(epochs += 1)}`;
  const disk: Disk = { epoch: newEpoch(), counters: zeros(), log: undefined, control: undefined };
  const startedMs = door.nowMs();
  let mind = bearMind(disk);
  let earlier = new Map(disk.counters);
  const newHolds = (): Holds =>
    createHolds({
      total: (dimension) => disk.counters.get(dimension) ?? 0n,
      epoch: disk.epoch,
      control: () => disk.control,
      monotonicMs: () => door.nowMs(),
    });
  let holds = newHolds();
  const turn = (final: boolean): void => takeTurn({ door, disk, mind, startedMs, holds }, final);
  const crashSidecar = (log: LogFate): void => {
    if (log !== "Kept") disk.log = undefined;
    mind = bearMind(disk);
  };
  return {
    count(dimension, amount) {
      if (disk.control === undefined) return false;
      return countHeld(holds, { [dimension]: amount }, () => {
        earlier = new Map(disk.counters);
        disk.counters.set(dimension, (disk.counters.get(dimension) ?? 0n) + amount);
      });
    },
    wake: () => turn(false),
    told: (object) => obey(disk, mind.state, object),
    cut: () => undefined,
    async end() {
      // Tries again until its time is over: a single failed write costs nothing.
      for (let tries = 0; tries < 3; tries += 1) turn(true);
    },
    stop: () => undefined,
    crashService: () => void (holds = newHolds()),
    dropCounters: () => void (disk.counters = earlier),
    crashSidecar,
    reboot() {
      disk.epoch = newEpoch();
      disk.counters = zeros();
      earlier = zeros();
      holds = newHolds();
      crashSidecar("Kept");
    },
  };
}

interface Work {
  readonly door: PodDoor;
  readonly disk: Disk;
  readonly mind: Mind;
  readonly startedMs: number;
  readonly holds: Holds;
}

function takeTurn(work: Work, final: boolean): void {
  const { door, disk, mind } = work;
  const isCut = door.isCut();
  if (!isCut) mind.object = door.api.podUsages.get(door.uid);
  if (!isCut) obey(disk, mind.state, mind.object);
  restore(mind, isCut);
  if (!mind.restored) return;
  const reading = read(disk, final ? "File" : scrapeSource(door));
  const folded = applyReading(mind.state, reading);
  if (folded.ok) mind.state = folded.state;
  obey(disk, mind.state, mind.object);
  const nowMs = door.apiNowMs();
  if (mind.state.hour !== "" || mind.object)
    mind.state = applyTime(mind.state, { nowMs, hour: hourKey(nowMs), upMs: door.nowMs() - work.startedMs });
  disk.log = mind.state;
  if (final || isDue(work, door.nowMs())) publish(work, final);
}

function restore(mind: Mind, isCut: boolean): void {
  const status = mind.object?.status;
  const isAhead = status !== undefined && BigInt(status.sequence) > BigInt(mind.state.sequence);
  if (mind.restored && isAhead) mind.state = fromPodUsage(status);
  if (mind.restored || isCut) return;
  mind.state = chooseState(undefined, status ? fromPodUsage(status) : undefined);
  mind.restored = true;
}

function scrapeSource(door: PodDoor): Reading["source"] {
  return door.takeScrapeFault() === undefined ? "Scrape" : "File";
}

function read(disk: Disk, source: Reading["source"]): Reading {
  return { epoch: disk.epoch, counters: disk.counters, source };
}

function isDue({ mind, holds }: Work, nowMs: number): boolean {
  const { published, state } = mind;
  if (!published) return true;
  if (published.hour !== state.hour) return true;
  if (published.leases !== acksOf(holds) && nowMs - published.atMs >= 1000) return true;
  return nowMs - published.atMs >= CHECKPOINT_SECONDS * 1000 && published.totals !== JSON.stringify(state.totals);
}

function publish({ door, mind, disk, holds }: Work, final: boolean): void {
  mind.state = { ...mind.state, sequence: (BigInt(mind.state.sequence) + 1n).toString() };
  disk.log = mind.state;
  const version = mind.object?.metadata.resourceVersion;
  if (door.isCut() || version === undefined) return;
  const reportedAt = toIso(door.apiNowMs());
  const echo = echoOf({ holds, epoch: disk.epoch }, { state: mind.state, published: mind.object?.status });
  const status = toPodUsageStatus(mind.state, { final, reportedAt, enforced: undefined, leases: echo });
  if (put(door, version, status))
    mind.published = {
      atMs: door.nowMs(),
      totals: JSON.stringify(mind.state.totals),
      hour: mind.state.hour,
      leases: acksOf(holds),
    };
}

/** True when the sidecar knows that its write arrived. */
function put(door: PodDoor, version: string, status: PodUsageStatus): boolean {
  const fault = door.takeWriteFault();
  if (fault === "Fail") return false;
  const land = (): boolean => typeof door.api.putStatus(door.uid, version, status) !== "string";
  if (fault === "Delay") {
    door.delay(land);
    return false;
  }
  return land() && fault === undefined;
}

/** control.json, as the sidecar writes it: before the first grant there is none. */
function obey(disk: Disk, state: SidecarState, object: PodUsage | undefined): void {
  const control = object && toControl(object.spec, state);
  if (control) disk.control = control;
}

function acksOf(holds: Holds): string {
  return JSON.stringify(Object.entries(holds.echo()).map(([dimension, { applied }]) => [dimension, applied]));
}

function bearMind(disk: Disk): Mind {
  return { state: disk.log ?? EMPTY_STATE, restored: disk.log !== undefined, object: undefined, published: undefined };
}

function zeros(): Map<string, bigint> {
  return new Map(USED.map(([dimension]) => [dimension, 0n]));
}
