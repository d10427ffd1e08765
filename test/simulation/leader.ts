import type { Intent } from "#core/api/usage-statement.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { openAccounts } from "#core/accounts.ts";
import type { PodUsage } from "#core/api/pod-usage.ts";
import { openPeriod, periodOf } from "#core/overage.ts";
import { findPlan, type Plan } from "#core/plan.ts";
import { type RingWanted, thinRing } from "#core/ring.ts";
import { hourStart, shiftHour, toIso } from "#core/time.ts";
import { runCycle } from "../../services/meter/reporter/cycle.ts";
import {
  createMemory,
  type Books,
  type Desk,
  type Marketplace,
  type Terms,
} from "../../services/meter/reporter/desk.ts";
import type { ApiModel } from "./api-model.ts";
import { CallFailed, Crash, Gate, type Stop } from "./gate.ts";
import type { MarketModel } from "./market-model.ts";
import { CHECKPOINT_SECONDS, RESOURCE, type Setup } from "./setup.ts";

/** What a reporter's process reaches of the world. */
export interface LeaderDoor {
  readonly api: ApiModel;
  readonly market: MarketModel;
  readonly setup: Setup;
  /** The plan that a process finds when it starts. */
  readonly planId: string;
  /** The API server's clock. */
  apiNowMs(): number;
  nodeSkewMs(): number;
  delay(land: () => void): void;
  isPodGone(uid: string): boolean;
  hasHappened(what: string): boolean;
  /** The first ledger is made. */
  onBirth(): void;
  /** Before the first byte of a POST leaves. */
  onSend(intents: readonly Intent[], ledger: Ledger | undefined): void;
  /** An error that is neither a lost race nor a failed call of ours. */
  onUnexpected(error: unknown): void;
}

/** A reporter's process: the product's cycle as a coroutine that may stand still, fail or die at any call. */
export class Leader {
  readonly #door: LeaderDoor;
  #catalogueDigest = "test";
  #gate: Gate;
  #desk: Desk | undefined;
  #running: Promise<void> | undefined;
  /** The ledger that this process read last. */
  #seen: Ledger | undefined;
  calls = 0;

  constructor(door: LeaderDoor) {
    this.#door = door;
    this.#gate = new Gate((land) => door.delay(land));
  }

  get isPaused(): boolean {
    return this.#gate.isPaused;
  }

  get memory(): Desk["memory"] | undefined {
    return this.#desk?.memory;
  }

  /** A new process with another catalogue: what was parked gets its chance again. */
  upgrade(catalogueDigest: string): void {
    this.kill();
    this.#catalogueDigest = catalogueDigest;
  }

  /** The process ends, wherever it stands. */
  kill(): void {
    this.#gate = new Gate((land) => this.#door.delay(land));
    this.#desk = undefined;
    this.#running = undefined;
  }

  /** One cycle, until its end or its stop, at any call or at one of that name. A process that stands still begins none. */
  async cycle(at: number, how: Stop, call?: "applyGrants"): Promise<void> {
    if (this.isPaused) return;
    this.#desk ??= this.#makeDesk();
    const desk = this.#desk;
    this.#gate.arm(at, how, call);
    const skewMs = this.#door.nodeSkewMs();
    await this.#turn(() => {
      this.#running = runCycle(desk, { offsetSeconds: 0, skewMs }).then(
        () => undefined,
        (error: unknown) => this.#fail(error, desk),
      );
    });
  }

  /** A process that stood still goes on. */
  async resume(at: number, how: Stop): Promise<void> {
    if (!this.isPaused) return;
    this.#gate.arm(at, how);
    await this.#turn(() => this.#gate.resume());
  }

  async #turn(go: () => void): Promise<void> {
    const gate = this.#gate;
    const paused = new Promise<void>((resolve) => (gate.onPause = resolve));
    go();
    await Promise.race([this.#running, paused]);
    this.calls = gate.calls;
  }

  #fail(error: unknown, desk: Desk): void {
    if (error instanceof Crash && this.#desk === desk) this.#desk = undefined;
    const isLost = error instanceof Error && error.name === "ConflictError";
    if (!(error instanceof Crash) && !(error instanceof CallFailed) && !isLost) this.#door.onUnexpected(error);
  }

  #makeDesk(): Desk {
    const silent = (): void => undefined;
    const gate = this.#gate;
    const { setup, planId } = this.#door;
    const terms = makeTerms(setup, { planId, catalogueDigest: this.#catalogueDigest });
    return {
      books: this.#makeBooks(gate, terms),
      marketplace: this.#makeMarketplace(gate),
      terms,
      memory: createMemory(),
      now: () => this.#door.apiNowMs(),
      random: () => 0.5,
      log: { info: silent, warn: silent, error: silent, debug: silent },
    };
  }

  #makeBooks(gate: Gate, { plan }: Terms): Books {
    const { api } = this.#door;
    return {
      readLedger: () => gate.pass(() => this.#note(api.ledger)),
      createLedger: (ledger) => gate.pass(() => this.#bear(ledger, plan)),
      writeLedger: (ledger) => gate.pass(() => api.writeLedger(ledger)),
      readStatement: (slot) => gate.pass(() => api.readStatement(slot)),
      createStatement: (statement) => gate.pass(() => api.createStatement(statement)),
      writeStatement: (statement) => gate.pass(() => api.writeStatement(statement)),
      deleteStatement: (statement) => gate.pass(() => api.deleteStatement(statement)),
      listStatements: () => gate.pass(() => [...api.statements.values()].map(({ value }) => value)),
      listPodUsages: (wanted) => gate.pass(() => [...api.podUsages.values()].map((pod) => thin(pod, wanted))),
      isPodGone: (object) => gate.pass(() => this.#door.isPodGone(object.metadata.name)),
      deletePodUsage: (object) => gate.pass(() => api.deletePodUsage(object)),
      applyGrants: (object, grants) => gate.pass(() => api.applyGrants(object, grants), "applyGrants"),
    };
  }

  #makeMarketplace(gate: Gate): Marketplace {
    const { market } = this.#door;
    const send = (intents: readonly Intent[]): ReturnType<MarketModel["post"]> =>
      market.post(intents, (land) => this.#door.delay(land));
    return {
      post: (intents) => {
        this.#door.onSend(intents, this.#seen);
        return gate
          .pass(() => send(intents))
          .catch((error: unknown) => noAnswer(error, () => market.unanswered(intents)));
      },
      list: (sinceDay) =>
        gate
          .pass(() => market.list(sinceDay))
          .catch((error: unknown) => noAnswer(error, () => ({ ok: false, refused: false, message: "no answer" }))),
    };
  }

  /** A first ledger is as old as the setup wants it: its installation has used nothing so far. */
  #bear(ledger: Ledger, plan: Plan | undefined): ReturnType<ApiModel["createLedger"]> {
    const { api, setup } = this.#door;
    const { catalogue, anchorMs } = setup;
    if (api.ledger || this.#door.hasHappened("Birth")) return api.createLedger(ledger);
    this.#door.onBirth();
    const { confirmation: _, ...confirmed } = ledger;
    const aged = { ...confirmed, anchor: toIso(hourStart(anchorMs)), accounts: [] };
    const at = { hour: shiftHour(ledger.lastClosedHour, 1), anchorMs: Date.parse(aged.anchor) };
    const accounts = openAccounts(aged, { catalogue, plan }).accounts.map((account) => {
      const period = periodOf(plan, { dimension: account.dimension, divisor: BigInt(account.divisor) }, at);
      const blank = { ...account, periods: [], segments: [] };
      return openPeriod(blank, period, { edge: ledger.lastClosedHour, opening: 0n });
    });
    return api.createLedger({ ...aged, accounts });
  }

  #note<T extends { readonly value: Ledger } | undefined>(found: T): T {
    this.#seen = found?.value;
    return found;
  }
}

/** Of the ring what the reporter asks for, as its adapter keeps no more. */
function thin(pod: PodUsage, wanted: RingWanted | undefined): PodUsage {
  if (!wanted || !pod.status?.boundaries) return pod;
  return { ...pod, status: { ...pod.status, boundaries: thinRing(pod.status.boundaries, wanted) } };
}

/** The Marketplace's adapter never throws for a failed call; the end of the process goes through. */
function noAnswer<T>(error: unknown, answer: () => T): T {
  if (error instanceof CallFailed) return answer();
  throw error;
}

function makeTerms(setup: Setup, now: Pick<Terms, "planId" | "catalogueDigest">): Terms {
  const plan = findPlan(setup.catalogue, now.planId);
  return {
    mode: plan?.billing === "Custom" ? "Marketplace" : "Silent",
    offerResourceId: RESOURCE,
    ...now,
    plan,
    catalogue: setup.catalogue,
    checkpointSeconds: CHECKPOINT_SECONDS,
    grantLifeSeconds: 86_400,
    reconcileRequired: setup.reconcileRequired,
    lateUsage: setup.lateUsage,
    retention: { days: 45, needsExport: true },
  };
}
