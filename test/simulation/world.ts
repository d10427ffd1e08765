import type { Grants, PodUsage, PodUsageStatus } from "#core/api/pod-usage.ts";
import type { Intent } from "#core/api/usage-statement.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { entitledBy } from "#core/entitlement.ts";
import { limitedDimensions } from "#core/leases.ts";
import { findPlan } from "#core/plan.ts";
import { HOUR_MS, hourStart, parseHourKey, toIso } from "#core/time.ts";
import { firstGrants } from "../../operator/desired/pod-usage.ts";
import { ApiModel, type Backup, type PodChange } from "./api-model.ts";
import { Leader, type LeaderDoor } from "./leader.ts";
import { MarketModel } from "./market-model.ts";
import { clearFiles } from "./memory-fs.ts";
import { notePlanBooks, planUse } from "./plan-books.ts";
import { PodModel } from "./pod-model.ts";
import { CHECKPOINT_SECONDS, RESOURCE, SCRAPE_SECONDS, type Setup } from "./setup.ts";

/** A law that was broken, and how. */
export interface Violation {
  readonly law: string;
  readonly problem: string;
}

const DAY_MS = 24 * HOUR_MS;
/** Pods of one history, living and dead. */
const PODS_MAX = { Ordinary: 6, Foreign: 6, Disaster: 6, Steady: 200 } as const;
const DELAYED_MAX = 20;

/** Everything outside the product's code: time, API server, Marketplace, pods on their nodes, and two reporters. */
export class World implements LeaderDoor {
  readonly setup: Setup;
  readonly api: ApiModel;
  readonly market: MarketModel;
  readonly pods: PodModel[] = [];
  readonly leaders: readonly Leader[];
  readonly violations: Violation[] = [];
  /** Requests that were given up and have not arrived yet. */
  readonly delayed: (() => void)[] = [];
  /** Quantities ever sent, by slot: I3 wants one each. */
  readonly sent = new Map<string, Set<string>>();
  /** Disasters that a law must know of. */
  readonly happened = new Set<string>();
  /** When the ledger was first made. */
  bornMs = Infinity;
  /** The plan that the customer has now, and all so far. */
  planId: string;
  readonly plansSeen = new Set<string>();
  /** What a ledger that was lost knew: the oracle forgets neither it nor the periods that had begun, as their fees were due. */
  lostLedger: Ledger | undefined;
  losses = 0;
  readonly periodsLost = new Set<string>();
  /** The latest hour that a leader may have closed. */
  highestMs = -Infinity;
  backup: Backup | undefined;
  skewMs = 0;
  #nodeSkewMs = 0;
  #nowMs: number;

  constructor(setup: Setup) {
    clearFiles();
    this.setup = setup;
    this.planId = setup.planId;
    this.plansSeen.add(setup.planId);
    this.#nowMs = setup.startMs;
    this.market = new MarketModel(setup, () => this.#nowMs);
    this.api = new ApiModel({
      strict: setup.strict,
      onBroken: (law, problem) => this.report(law, problem),
      onPodUsage: (change) => this.#onPodUsage(change),
      onLedger: (before, after) => notePlanBooks(this, before, after),
    });
    this.leaders = [new Leader(this), new Leader(this)];
    if (!this.market.switches.listAllowed) this.happened.add("ListSilent");
  }

  nowMs(): number {
    return this.#nowMs;
  }

  apiNowMs(): number {
    return this.#nowMs + this.skewMs;
  }

  nodeSkewMs(): number {
    return this.#nodeSkewMs;
  }

  setNodeSkew(ms: number): void {
    this.#nodeSkewMs = ms;
  }

  report(law: string, problem: string): void {
    this.violations.push({ law, problem });
  }

  delay(land: () => void): void {
    if (this.delayed.length < DELAYED_MAX) this.delayed.push(land);
  }

  isPodGone(uid: string): boolean {
    return this.pods.find((pod) => pod.uid === uid)?.inApi !== true;
  }

  hasHappened(what: string): boolean {
    return this.happened.has(what);
  }

  onBirth(): void {
    this.bornMs = this.apiNowMs();
    this.happened.add("Birth");
  }

  onUnexpected(error: unknown): void {
    this.report("Error", error instanceof Error ? (error.stack ?? error.message) : String(error));
  }

  /** I3 and I8 where they can be seen: as a process decides to send. */
  onSend(intents: readonly Intent[], ledger: Ledger | undefined): void {
    for (const intent of intents) this.#checkIntent(intent, ledger);
  }

  #checkIntent(intent: Intent, ledger: Ledger | undefined): void {
    const slot = `${intent.hour} ${intent.dimension}`;
    const quantities = (this.sent.get(slot) ?? new Set()).add(intent.quantity);
    this.sent.set(slot, quantities);
    if (quantities.size > 1 && !this.happened.has("Restore"))
      this.report("I3", `slot ${slot} was sent as ${[...quantities].join(" and ")}`);
    this.#checkTime(intent, slot);
    if (!/^[1-9][0-9]*$/.test(intent.quantity)) this.report("I8", `slot ${slot} was sent as ${intent.quantity}`);
    if (ledger?.accounts.find(({ dimension }) => dimension === intent.dimension)?.parked)
      this.report("I8", `slot ${slot} was sent though its dimension is parked`);
  }

  #checkTime(intent: Intent, slot: string): void {
    const ageMs = this.apiNowMs() - parseHourKey(intent.hour);
    if (Date.parse(intent.effectiveStartTime) !== parseHourKey(intent.hour) || !intent.effectiveStartTime.endsWith("Z"))
      this.report("I8", `slot ${slot} was sent with the time ${intent.effectiveStartTime}`);
    if (ageMs < HOUR_MS || ageMs >= DAY_MS)
      this.report("I8", `slot ${slot} was sent ${Math.round(ageMs / 60_000)} min after its start`);
  }

  /** The customer buys another plan: Azure knows at once, the reporter when it starts again. */
  changePlan(planId: string): void {
    if (planId === this.planId) return;
    this.planId = planId;
    this.plansSeen.add(planId);
    this.market.changePlan(planId);
    for (const leader of this.leaders) if (!leader.isPaused) leader.kill();
  }

  /** A ledger goes, or gives way to an older one. */
  loseLedger(): void {
    const ledger = this.api.ledger?.value;
    if (!ledger) return;
    this.losses += 1;
    this.lostLedger = ledger;
    for (const period of planUse(this, ledger).keys()) this.periodsLost.add(period);
  }

  addPod(agent: number): void {
    if (this.pods.length >= PODS_MAX[this.setup.profile]) return;
    const pod = new PodModel(`p${this.pods.length}`, `shop/agent${agent}`, this);
    this.pods.push(pod);
    this.operate(pod);
  }

  /** The operator: a PodUsage for a pod that exists and has none. */
  operate(pod: PodModel): void {
    if (!pod.inApi || this.api.podUsages.has(pod.uid)) return;
    this.api.putPodUsage(
      bearPodUsage(pod, {
        nowMs: this.apiNowMs(),
        version: this.api.nextPodVersion(),
        grants: this.#firstGrants(),
      }),
      "Spec",
    );
  }

  /** As the operator gives them: of what the plan limits nothing yet. */
  #firstGrants(): Grants {
    const { planId } = this;
    const { catalogue } = this.setup;
    const limited = limitedDimensions(findPlan(catalogue, planId), catalogue);
    const settings = {
      offerResourceId: RESOURCE,
      planId,
      grantLifeSeconds: 86_400,
      limitedDimensions: limited,
      entitlement: entitledBy(findPlan(catalogue, planId), false),
    };
    const known = [...this.api.podUsages.values()].map(({ spec }) => spec);
    return firstGrants(known, { settings, nowMs: this.apiNowMs() });
  }

  /** To an instant, with nobody's turn before it. */
  moveTo(ms: number): void {
    this.#nowMs = ms;
  }

  /** Time passes: sidecars turn where it matters, at most S after usage, K + S until it is published, at edges of hours. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (const atMs of this.#moments(endMs)) {
      this.#nowMs = atMs;
      for (const pod of this.pods) pod.wake();
      await drain();
    }
    this.#nowMs = endMs;
  }

  #moments(endMs: number): number[] {
    const fromMs = this.#nowMs;
    const moments: number[] = [];
    if (this.pods.some((pod) => pod.isDirty))
      // The end too: two short advances may have a checkpoint between them that neither would reach.
      moments.push(fromMs + SCRAPE_SECONDS * 1000, fromMs + (SCRAPE_SECONDS + CHECKPOINT_SECONDS) * 1000, endMs);
    if (this.pods.some((pod) => pod.isDirty && pod.isHurt()))
      moments.push(fromMs + (SCRAPE_SECONDS + 2 * CHECKPOINT_SECONDS) * 1000);
    for (let edge = hourStart(fromMs + this.skewMs) + HOUR_MS - this.skewMs; edge < endMs; edge += HOUR_MS)
      moments.push(edge + 3000, edge + 35_000);
    return moments.filter((atMs) => atMs > fromMs && atMs <= endMs).sort((a, b) => a - b);
  }

  #onPodUsage({ uid, part, object }: PodChange): void {
    const pod = this.pods.find((candidate) => candidate.uid === uid);
    if (!pod) return;
    if (part === "Spec") pod.told(object);
    else if (object?.status) this.#notePublished(pod, object.status);
  }

  #notePublished(pod: PodModel, status: PodUsageStatus): void {
    for (const { dimension, total } of status.totals) {
      const amount = BigInt(total);
      const used = pod.used.get(dimension) ?? 0n;
      if (amount > used && dimension !== "pod_milliseconds")
        this.report("I1", `${pod.uid} published ${amount} of ${dimension}, it used ${used}`);
      if (amount > (pod.published.get(dimension) ?? 0n)) pod.published.set(dimension, amount);
    }
    for (const { hour, totals } of status.boundaries ?? [])
      if (!pod.boundaries.has(hour))
        pod.boundaries.set(hour, new Map(totals.map(({ dimension, total }) => [dimension, BigInt(total)])));
  }
}

/** Lets every process run to its next wait. */
export function drain(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function bearPodUsage(
  pod: PodModel,
  at: { readonly nowMs: number; readonly version: string; readonly grants: Grants },
): PodUsage {
  const [namespace, agentDeployment = ""] = pod.agent.split("/");
  return {
    apiVersion: "supercargo.dev/v1alpha1",
    kind: "PodUsage",
    metadata: { name: pod.uid, namespace, uid: `u${at.version}`, creationTimestamp: toIso(at.nowMs) },
    spec: {
      podName: `pod-${pod.uid}`,
      component: "orchestrator",
      agentDeployment,
      offerResourceId: RESOURCE,
      checkpointSeconds: CHECKPOINT_SECONDS,
      grants: at.grants,
    },
  };
}
