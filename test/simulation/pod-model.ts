import type { PodUsage } from "#core/api/pod-usage.ts";
import type { ApiModel } from "./api-model.ts";
import type { LogFate, PodWriteFault, ScrapeFault } from "./events.ts";
import { startFullPod } from "./full-pod.ts";
import { isLeaseNews } from "./held.ts";
import { startLightPod } from "./light-pod.ts";
import type { PodDoor, PodProcesses } from "./pod-processes.ts";
import { USED } from "./catalogues.ts";
import { CHECKPOINT_SECONDS, SCRAPE_SECONDS, type Setup } from "./setup.ts";

/** Usage as it really happened. */
interface Use {
  readonly atMs: number;
  readonly dimension: string;
  readonly amount: bigint;
}

/** What a pod reaches of the world. */
export interface PodWorld {
  readonly api: ApiModel;
  readonly setup: Setup;
  nowMs(): number;
  apiNowMs(): number;
  delay(land: () => void): void;
}

/** K + S: what a pod may lose when it dies without grace. */
const WINDOW_MS = (CHECKPOINT_SECONDS + SCRAPE_SECONDS) * 1000;

/** One pod, and what nobody but the simulation knows of it: what was really used, and what may be lost. */
export class PodModel implements PodDoor {
  readonly uid: string;
  readonly namespace: string;
  readonly agent: string;
  /** The API server shows the pod. */
  inApi = true;
  /** Its containers run somewhere. */
  running = true;
  readonly used = new Map<string, bigint>();
  /** The newest totals that the API server took. */
  readonly published = new Map<string, bigint>();
  /** Totals at the end of hours, as published; an hour's total never changes. */
  readonly boundaries = new Map<string, ReadonlyMap<string, bigint>>();
  /** The row of the failure table by which it lost usage. */
  lossRow = "none";
  /** For how long it could not tell what it had counted. */
  longestCutMs = 0;
  readonly #world: PodWorld;
  readonly #processes: PodProcesses;
  readonly #uses: Use[] = [];
  readonly #allowed = new Map<string, bigint>();
  /** While it cannot reach the API server: since when. */
  #cutMs: number | undefined;
  #lastCut = { fromMs: -Infinity, untilMs: -Infinity };
  #faultMs = -Infinity;
  #orphanMs = Infinity;
  #writeFault: PodWriteFault | undefined;
  #scrapeFault: ScrapeFault | undefined;

  constructor(uid: string, agent: string, world: PodWorld) {
    const [namespace = ""] = agent.split("/");
    this.uid = uid;
    this.namespace = namespace;
    this.agent = agent;
    this.#world = world;
    this.#processes = world.setup.sidecars === "Whole" ? startFullPod(this) : startLightPod(this);
  }

  get api(): ApiModel {
    return this.#world.api;
  }

  nowMs(): number {
    return this.#world.nowMs();
  }

  apiNowMs(): number {
    return this.#world.apiNowMs();
  }

  delay(land: () => void): void {
    this.#world.delay(land);
  }

  isCut(): boolean {
    return this.#cutMs !== undefined;
  }

  use(dimension: string, amount: bigint): void {
    if (!this.running || !this.#processes.count(dimension, amount)) return;
    this.used.set(dimension, (this.used.get(dimension) ?? 0n) + amount);
    this.#uses.push({ atMs: this.nowMs(), dimension, amount });
  }

  /** What of the usage the API server has not taken. */
  unpublished(dimension: string): bigint {
    return (this.used.get(dimension) ?? 0n) - (this.published.get(dimension) ?? 0n);
  }

  get isDirty(): boolean {
    if (!this.running) return false;
    return (
      USED.some(([dimension]) => this.unpublished(dimension) > 0n) || isLeaseNews(this.api.podUsages.get(this.uid))
    );
  }

  wake(): void {
    if (this.running) this.#processes.wake();
  }

  told(object: PodUsage | undefined): void {
    if (this.running && !this.isCut()) this.#processes.told(object);
  }

  cut(): void {
    if (this.isCut() || !this.running) return;
    this.#cutMs = this.nowMs();
    this.#processes.cut();
  }

  uncut(): void {
    if (this.#cutMs !== undefined) {
      this.#lastCut = { fromMs: this.#reachedMs(), untilMs: this.nowMs() };
      this.longestCutMs = Math.max(this.longestCutMs, this.nowMs() - this.#cutMs);
    }
    this.#cutMs = undefined;
  }

  async end(): Promise<void> {
    if (!this.running) return;
    await this.#processes.end();
    if (this.isCut()) this.#allowLoss("4");
    this.#stop();
  }

  /** Without grace: what lies within K + S before is lost; of a pod cut off, all since then. */
  kill(): void {
    if (!this.running) return;
    this.#allowLoss(this.isCut() ? "4" : "3");
    this.#stop();
  }

  /** Deleted by force, or its PodUsage by hand: once it is settled or gone, what it says no longer reaches anybody. */
  orphan(row: string): void {
    if (this.#orphanMs === Infinity) this.lossRow = row;
    this.#orphanMs = Math.min(this.#orphanMs, this.#reachedMs());
  }

  crashService(): void {
    if (this.running) this.#processes.crashService();
  }

  /** Its dimensions are quarantined, or what was not scraped is gone: nothing of it may be billed twice. */
  dropCounters(): void {
    if (!this.running) return;
    this.orphan("fall");
    this.#processes.dropCounters();
  }

  crashSidecar(log: LogFate): void {
    if (this.running) this.#processes.crashSidecar(log);
  }

  /** What was not scraped is lost with the counters of this boot. */
  reboot(fileLost: boolean): void {
    if (!this.running) return;
    this.#allowLoss("3");
    this.#processes.reboot(fileLost);
  }

  /** The next scrape goes wrong. */
  failScrape(fault: ScrapeFault): void {
    this.#scrapeFault = fault;
    this.#faultMs = this.nowMs();
  }

  /** The next write of the status goes wrong. */
  failWrite(fault: PodWriteFault): void {
    this.#writeFault = fault;
    this.#faultMs = this.nowMs();
  }

  takeWriteFault(): PodWriteFault | undefined {
    const fault = this.#writeFault;
    this.#writeFault = undefined;
    return fault;
  }

  takeScrapeFault(): ScrapeFault | undefined {
    const fault = this.#scrapeFault;
    this.#scrapeFault = undefined;
    return fault;
  }

  /** How much of a dimension may be lost, by all that happened to the pod. */
  allowedLossOf(dimension: string): bigint {
    return this.#usedSince(dimension, this.#orphanMs - 3 * WINDOW_MS) + (this.#allowed.get(dimension) ?? 0n);
  }

  /** Whether one of its calls may just have failed, so that another is due. */
  isHurt(): boolean {
    return this.nowMs() - this.#faultMs <= 3 * WINDOW_MS;
  }

  #stop(): void {
    this.running = false;
    this.#processes.stop();
  }

  #allowLoss(row: string): void {
    const fromMs = this.#reachedMs() - (this.isHurt() ? 3 : 1) * WINDOW_MS;
    if (this.#orphanMs === Infinity) this.lossRow = row;
    for (const [dimension] of USED)
      this.#allowed.set(dimension, (this.#allowed.get(dimension) ?? 0n) + this.#usedSince(dimension, fromMs));
  }

  /** Until when it surely reached the API server: until it was cut off, also if that ended just before now or the next cut. */
  #reachedMs(): number {
    const sinceMs = this.#cutMs ?? this.nowMs();
    return sinceMs - this.#lastCut.untilMs <= 2 * WINDOW_MS ? this.#lastCut.fromMs : sinceMs;
  }

  #usedSince(dimension: string, fromMs: number): bigint {
    const uses = this.#uses.filter((use) => use.dimension === dimension && use.atMs >= fromMs);
    return uses.reduce((sum, use) => sum + use.amount, 0n);
  }
}
