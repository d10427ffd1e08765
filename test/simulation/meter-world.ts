import { usageLedgerSpecSchema, type Ledger } from "#core/api/usage-ledger.ts";
import { usageStatementSpecSchema, statementName, type Intent, type Statement } from "#core/api/usage-statement.ts";
import type { PodUsage } from "#core/api/pod-usage.ts";
import { catalogueSchema, findPlan, type Catalogue } from "#core/plan.ts";
import { HOUR_MS, hourKey, hourStart, parseHourKey, toIso } from "#core/time.ts";
import { toBatchItem } from "../../services/emulator/metering-answers.ts";
import { listUsage } from "../../services/emulator/metering-list.ts";
import {
  bookForeign,
  createMeteringState,
  listBooked,
  putResource,
  submitItem,
  type BookedEvent,
} from "../../services/emulator/metering-store.ts";
import { defaultSwitches, type Switches } from "../../services/emulator/switches.ts";
import { runCycle, type CycleReport } from "../../services/meter/reporter/cycle.ts";
import {
  createMemory,
  type Books,
  type Desk,
  type Marketplace,
  type Versioned,
} from "../../services/meter/reporter/desk.ts";
import { readBatchReply, readUsageRows } from "../../services/meter/reporter/marketplace-answers.ts";

export const RESOURCE =
  "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c/providers/Microsoft.KubernetesConfiguration/extensions/app1";
export const GUID = "54372f22-697c-479e-9b76-d5bbdd6e701a";
export const START_MS = Date.UTC(2026, 10, 22, 8, 10);

export const CATALOGUE: Catalogue = catalogueSchema.parse({
  dimensions: [
    { id: "tool_action", from: "tool_action", unit: "action", divisor: "1" },
    { id: "tokens_1k_in", from: "input_tokens", unit: "1K tokens", divisor: "1000" },
    { id: "chats", from: "workflow_completed", unit: "conversation", divisor: "1" },
  ],
  plans: [
    {
      id: "starter",
      displayName: "Starter",
      billing: "Custom",
      dimensions: [
        { id: "tool_action" },
        { id: "tokens_1k_in" },
        { id: "chats", included: { quantity: "10", per: "Month" } },
      ],
    },
    {
      id: "business",
      displayName: "Business",
      billing: "Custom",
      dimensions: [{ id: "tool_action" }, { id: "chats" }],
    },
    { id: "gratis", displayName: "Gratis", billing: "Free", dimensions: [{ id: "tool_action" }] },
  ],
});

/** Thrown by a port to play the end of a process: memory is lost, the world stays. */
export class Crash extends Error {}

export type Fault = "LoseAnswer" | "LoseRequest" | "Http500" | "Http403" | "Shuffle" | "Drop" | "Foreign" | "ListDown";

/** Faults under which nothing is booked. */
const REFUSED: Partial<Record<Fault, { readonly status: number; readonly body: unknown }>> = {
  LoseRequest: { status: 0, body: {} },
  Http500: { status: 500, body: "oops" },
  Http403: { status: 403, body: { code: "Forbidden", message: "no" } },
};

interface SimPod {
  readonly object: PodUsage;
  readonly used: Map<string, bigint>;
  boundaries: { hour: string; totals: { dimension: string; total: string }[] }[];
  alive: boolean;
  /** What its sidecar said last: counted, whatever became of the books. */
  published: Map<string, bigint>;
}

/** A small world that keeps state: the API server's money objects, pods with sidecars, and the emulator's metering store. */
export class MeterWorld {
  nowMs = START_MS;
  /** Everything that was ever sent, by slot: I3 wants one quantity each. */
  readonly sent = new Map<string, Set<string>>();
  readonly faults: Fault[] = [];
  readonly switches: Switches;
  readonly metering = createMeteringState();
  readonly podUsages = new Map<string, PodUsage>();
  readonly pods = new Map<string, SimPod>();
  ledger: Versioned<Ledger> | undefined;
  readonly statements = new Map<string, Versioned<Statement>>();
  calls = 0;
  /** Runs before each port call; throws Crash to end the process there. */
  onCall: (call: string, count: number) => void | Promise<void> = () => undefined;
  planId = "starter";
  lateUsage: "Carry" | "Drop" = "Carry";
  reconcileRequired = true;
  #version = 0;
  #ids = 0;

  constructor(switches: Partial<Switches> = {}) {
    this.switches = { ...defaultSwitches, ...switches };
    putResource(this.metering, {
      resourceUri: RESOURCE,
      resourceId: GUID,
      ownerClientId: "us",
      offerId: "offer",
      state: "Active",
      plans: [
        { planId: "starter", dimensions: ["tool_action", "tokens_1k_in", "chats"] },
        { planId: "business", dimensions: ["tool_action", "chats"] },
      ],
    });
  }

  addPod(uid: string, agent = "shop/orders"): void {
    const [namespace = "", name = ""] = agent.split("/");
    const object: PodUsage = {
      apiVersion: "supercargo.dev/v1alpha1",
      kind: "PodUsage",
      metadata: { name: uid, namespace, creationTimestamp: toIso(this.nowMs), resourceVersion: this.#next() },
      spec: {
        podName: `pod-${uid}`,
        component: "orchestrator",
        agentDeployment: name,
        offerResourceId: RESOURCE,
        checkpointSeconds: 60,
      },
    };
    const birth = { hour: hourKey(this.nowMs - HOUR_MS), totals: [] };
    this.pods.set(uid, { object, used: new Map(), boundaries: [birth], alive: true, published: new Map() });
    this.podUsages.set(uid, object);
  }

  use(uid: string, dimension: string, amount: bigint): void {
    const pod = this.pods.get(uid);
    if (pod?.alive) pod.used.set(dimension, (pod.used.get(dimension) ?? 0n) + amount);
  }

  /** The sidecar's checkpoint: cumulative totals and boundaries. */
  publish(uid: string, final = false): void {
    const pod = this.pods.get(uid);
    const current = this.podUsages.get(uid);
    if (!pod || !current) return;
    pod.published = new Map(pod.used);
    this.podUsages.set(uid, {
      ...current,
      metadata: { ...current.metadata, resourceVersion: this.#next() },
      status: {
        sequence: "1",
        totals: [...pod.used].map(([dimension, total]) => ({ dimension, total: `${total}`, last: `${total}` })),
        boundaries: pod.boundaries.slice(-26),
        final: final ? "Yes" : "No",
        reportedAt: toIso(this.nowMs),
      },
    });
  }

  /** `graceful`: the sidecar says its last word; else what it had not published is lost. */
  endPod(uid: string, graceful: boolean): void {
    const pod = this.pods.get(uid);
    if (!pod?.alive) return;
    pod.alive = false;
    if (graceful) this.publish(uid, true);
  }

  /** Time passes; live sidecars note their totals at each hour boundary. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms;
    for (let edge = hourStart(this.nowMs) + HOUR_MS; edge <= endMs; edge += HOUR_MS)
      for (const pod of this.pods.values()) {
        if (!pod.alive) continue;
        const totals = [...pod.used].map(([dimension, total]) => ({ dimension, total: `${total}` }));
        pod.boundaries.push({ hour: hourKey(edge - HOUR_MS), totals });
      }
    this.nowMs = endMs;
  }

  publishAll(): void {
    for (const [uid, pod] of this.pods) if (pod.alive) this.publish(uid);
  }

  booked(dimension?: string): BookedEvent[] {
    return listBooked(this.metering).filter((event) => dimension === undefined || event.dimension === dimension);
  }

  /** Units that our own posts brought. */
  billed(dimension: string): number {
    return this.booked(dimension)
      .filter((event) => event.writer === "us")
      .reduce((sum, event) => sum + event.quantity, 0);
  }

  /** Base units that sidecars have published, of pods alive and dead. */
  counted(dimension: string): bigint {
    return [...this.pods.values()].reduce((sum, pod) => sum + (pod.published.get(dimension) ?? 0n), 0n);
  }

  /** An etcd backup of the money objects, and its return. */
  backup(): () => void {
    const kept = structuredClone({ ledger: this.ledger, statements: this.statements });
    return () => {
      this.ledger = kept.ledger ? { value: kept.ledger.value, version: this.#next() } : undefined;
      this.statements.clear();
      for (const [name, statement] of kept.statements)
        this.statements.set(name, { ...statement, version: this.#next() });
    };
  }

  desk(): Desk {
    const silent = (): void => undefined;
    return {
      books: this.#books(),
      marketplace: this.#marketplace(),
      terms: {
        mode: findPlan(CATALOGUE, this.planId)?.billing === "Custom" ? "Marketplace" : "Silent",
        offerResourceId: RESOURCE,
        planId: this.planId,
        plan: findPlan(CATALOGUE, this.planId),
        catalogue: CATALOGUE,
        catalogueDigest: "test",
        checkpointSeconds: 60,
        grantLifeSeconds: 86_400,
        reconcileRequired: this.reconcileRequired,
        lateUsage: this.lateUsage,
        retention: { days: 45, needsExport: true },
      },
      memory: createMemory(),
      now: () => this.nowMs,
      random: () => 0.5,
      log: { info: silent, warn: silent, error: silent, debug: silent },
    };
  }

  cycle(desk: Desk): Promise<CycleReport> {
    return runCycle(desk, { offsetSeconds: 0, skewMs: 0 });
  }

  #next(): string {
    this.#version += 1;
    return String(this.#version);
  }

  async #port<T>(call: string, run: () => T): Promise<T> {
    this.calls += 1;
    await this.onCall(call, this.calls);
    return structuredClone(run());
  }

  #books(): Books {
    const port = <T>(call: string, run: () => T): Promise<T> => this.#port(call, run);
    return {
      readLedger: () => port("readLedger", () => this.ledger),
      createLedger: (value) => port("createLedger", () => (this.ledger ? "Conflict" : this.#storeLedger(value))),
      writeLedger: (next) =>
        port("writeLedger", () =>
          this.ledger?.version === next.version ? this.#storeLedger(next.value) : ("Conflict" as const),
        ),
      readStatement: (slot) => port("readStatement", () => this.statements.get(statementName("h", slot))),
      createStatement: (value) =>
        port("createStatement", () =>
          this.statements.has(statementName("h", value.intent)) ? ("Conflict" as const) : this.#storeStatement(value),
        ),
      writeStatement: (next) =>
        port("writeStatement", () =>
          this.statements.get(statementName("h", next.value.intent))?.version === next.version
            ? this.#storeStatement(next.value)
            : ("Conflict" as const),
        ),
      deleteStatement: (statement) =>
        port("deleteStatement", () => {
          const name = statementName("h", statement.value.intent);
          if (this.statements.get(name)?.version !== statement.version) return "Changed" as const;
          this.statements.delete(name);
          return "Deleted" as const;
        }),
      listStatements: () => port("listStatements", () => [...this.statements.values()].map(({ value }) => value)),
      listPodUsages: () => port("listPodUsages", () => [...this.podUsages.values()]),
      isPodGone: (object) => port("isPodGone", () => this.pods.get(object.metadata.name)?.alive !== true),
      deletePodUsage: (object) =>
        port("deletePodUsage", () => {
          const current = this.podUsages.get(object.metadata.name);
          if (current && current.metadata.resourceVersion !== object.metadata.resourceVersion)
            return "Changed" as const;
          this.podUsages.delete(object.metadata.name);
          return "Deleted" as const;
        }),
      applyGrants: (object, grants) =>
        port("applyGrants", () => {
          const current = this.podUsages.get(object.metadata.name);
          if (!current) return "Gone" as const;
          if (current.metadata.resourceVersion !== object.metadata.resourceVersion) return "Changed" as const;
          const metadata = { ...current.metadata, resourceVersion: this.#next() };
          this.podUsages.set(object.metadata.name, { ...current, metadata, spec: { ...current.spec, grants } });
          return "Written" as const;
        }),
    };
  }

  /** What the CRD's rules hold: revision rises, settled never falls. */
  #storeLedger(value: Ledger): Versioned<Ledger> {
    usageLedgerSpecSchema.parse(value);
    const before = this.ledger?.value;
    if (before && BigInt(value.revision) <= BigInt(before.revision)) throw new Error("revision must rise");
    for (const entry of before?.settled ?? []) {
      const now = value.settled.find((other) => other.agent === entry.agent && other.dimension === entry.dimension);
      if (!now || BigInt(now.total) < BigInt(entry.total)) throw new Error("settled may not fall");
    }
    this.ledger = { value: structuredClone(value), version: this.#next() };
    return this.ledger;
  }

  /** What the CRD's rules hold: intent immutable, outcome once. */
  #storeStatement(value: Statement): Versioned<Statement> {
    usageStatementSpecSchema.parse(value);
    const name = statementName("h", value.intent);
    const before = this.statements.get(name)?.value;
    if (before && JSON.stringify(before.intent) !== JSON.stringify(value.intent))
      throw new Error("intent is immutable");
    if (before?.outcome && JSON.stringify(before.outcome) !== JSON.stringify(value.outcome))
      throw new Error("an outcome is written once");
    const stored = { value: structuredClone(value), version: this.#next() };
    this.statements.set(name, stored);
    return stored;
  }

  #marketplace(): Marketplace {
    return {
      post: async (intents) => {
        await this.#port("post", () => undefined);
        return this.#post(intents);
      },
      list: async (sinceDay) => {
        await this.#port("list", () => undefined);
        if (this.faults[0] === "ListDown") {
          this.faults.shift();
          return { ok: false, refused: false, message: "down" };
        }
        const context = { callerClientId: "us", nowMs: this.nowMs, switches: this.switches };
        const rows = listUsage(this.metering, { startMs: parseHourKey(`${sinceDay}00`) }, context);
        return { ok: true, rows: readUsageRows(JSON.stringify(rows)) ?? [] };
      },
    };
  }

  #note(intents: readonly Intent[]): void {
    for (const intent of intents) {
      const slot = `${intent.hour} ${intent.dimension}`;
      this.sent.set(slot, (this.sent.get(slot) ?? new Set()).add(intent.quantity));
      if (BigInt(intent.quantity) <= 0n) throw new Error(`posted ${intent.quantity}`);
      if (parseHourKey(intent.hour) + HOUR_MS > this.nowMs) throw new Error(`posted the open hour ${intent.hour}`);
    }
  }

  #post(intents: readonly Intent[]): ReturnType<typeof readBatchReply> {
    this.#note(intents);
    const fault = this.faults[0] === "ListDown" ? undefined : this.faults.shift();
    const reply = (status: number, body: unknown): ReturnType<typeof readBatchReply> =>
      readBatchReply({ status, text: JSON.stringify(body), requestId: "r" }, intents);
    const refused = fault === undefined ? undefined : REFUSED[fault];
    return refused ? reply(refused.status, refused.body) : reply(...this.#book(intents, fault));
  }

  /** The emulator's books and its answer, with what the fault does to them. */
  #book(intents: readonly Intent[], fault: Fault | undefined): [number, unknown] {
    const call = {
      callerClientId: "us",
      nowMs: this.nowMs,
      switches: this.switches,
      newId: () => `id-${(this.#ids += 1)}`,
    };
    const items = intents.map((intent) => ({
      resourceUri: intent.offerResourceId,
      quantity: Number(intent.quantity),
      dimension: intent.dimension,
      effectiveStartTime: intent.effectiveStartTime,
      planId: intent.planId,
    }));
    if (fault === "Foreign") bookForeign(this.metering, items[0], { quantity: 0.5, call });
    const result = items.map((item) => toBatchItem(submitItem(this.metering, item, call), call));
    if (fault === "LoseAnswer") return [0, {}];
    if (fault === "Shuffle") result.reverse();
    if (fault === "Drop") result.pop();
    return [200, { result, count: result.length }];
  }
}
