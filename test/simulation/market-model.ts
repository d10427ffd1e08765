import type { Intent } from "#core/api/usage-statement.ts";
import type { PostAnswer } from "#core/outcome.ts";
import { HOUR_MS, parseHourKey } from "#core/time.ts";
import { toBatchItem } from "../../services/emulator/metering-answers.ts";
import { listUsage } from "../../services/emulator/metering-list.ts";
import {
  bookForeign,
  createMeteringState,
  findResource,
  putResource,
  submitItem,
  type CallContext,
  type Verdict,
} from "../../services/emulator/metering-store.ts";
import { defaultSwitches, type Switches } from "../../services/emulator/switches.ts";
import type { ListAnswer } from "../../services/meter/reporter/desk.ts";
import { readBatchReply, readUsageRows } from "../../services/meter/reporter/marketplace-answers.ts";
import type { PostFault } from "./events.ts";
import { RESOURCE, type Setup } from "./setup.ts";

/** Faults under which nothing is booked, as status and body. */
const REFUSED: Partial<Record<PostFault, { readonly status: number; readonly body: string }>> = {
  Http500: { status: 500, body: "oops" },
  Http429: { status: 429, body: "slow down" },
  Http403: { status: 403, body: '{"code":"Forbidden","message":"no"}' },
  Http400: { status: 400, body: '{"code":"BadArgument","message":"One or more errors have occurred."}' },
};

const GUID = "54372f22-697c-479e-9b76-d5bbdd6e701a";

/** The Marketplace: the emulator's books and answers in process, with faults on the way. */
export class MarketModel {
  readonly state = createMeteringState();
  readonly faults: PostFault[] = [];
  readonly switches: Switches;
  /** Nothing answers before this instant. */
  downUntilMs = 0;
  listFault: "None" | "Down" | "Refused" = "None";
  /** Units booked by dimension: ours, and a foreign writer's. */
  readonly ours = new Map<string, number>();
  readonly foreign = new Map<string, number>();
  readonly #now: () => number;
  #ids = 0;

  constructor(setup: Setup, now: () => number) {
    this.switches = { ...defaultSwitches, ...setup.switches };
    this.#now = now;
    const plans = setup.catalogue.plans.map((plan) => ({
      planId: plan.id,
      dimensions: plan.dimensions.map((dimension) => dimension.id),
    }));
    putResource(this.state, {
      resourceUri: RESOURCE,
      resourceId: GUID,
      ownerClientId: "us",
      offerId: "offer",
      state: "Active",
      plans,
    });
  }

  setActive(active: boolean): void {
    const resource = findResource(this.state, RESOURCE);
    if (resource) putResource(this.state, { ...resource, state: active ? "Active" : "Suspended" });
  }

  /** The extension was created again: `Invalid usage state.` for a while. */
  recreate(): void {
    const resource = findResource(this.state, RESOURCE);
    if (resource) putResource(this.state, { ...resource, recreatedMs: this.#now() });
  }

  /** One batch. `delay` takes a request that lands later. */
  post(intents: readonly Intent[], delay: (land: () => void) => void): PostAnswer[] {
    const reply = (status: number, text: string): PostAnswer[] =>
      readBatchReply({ status, text, requestId: "r" }, intents);
    if (this.#now() < this.downUntilMs) return this.unanswered(intents);
    const fault = this.faults.shift();
    if (fault === "Delay") {
      delay(() => void this.#book(intents));
      return this.unanswered(intents);
    }
    if (fault === "LoseRequest") return this.unanswered(intents);
    const refused = fault === undefined ? undefined : REFUSED[fault];
    if (refused) return reply(refused.status, refused.body);
    const result = this.#answer(intents, fault);
    if (fault === "LoseAnswer") return this.unanswered(intents);
    return reply(200, fault === "Truncate" ? result.slice(0, 40) : result);
  }

  /** What the adapter says when no answer came. */
  unanswered(intents: readonly Intent[]): PostAnswer[] {
    return readBatchReply({ status: 0, text: "", requestId: "r", failure: "no answer" }, intents);
  }

  list(sinceDay: string): ListAnswer {
    if (this.#now() < this.downUntilMs || this.listFault === "Down")
      return { ok: false, refused: false, message: "down" };
    if (this.listFault === "Refused") return { ok: false, refused: true, message: "HTTP status 403" };
    const context = { callerClientId: "us", nowMs: this.#now(), switches: this.switches };
    const rows = listUsage(this.state, { startMs: parseHourKey(`${sinceDay}00`) }, context);
    return { ok: true, rows: readUsageRows(JSON.stringify(rows)) ?? [] };
  }

  #answer(intents: readonly Intent[], fault: PostFault | undefined): string {
    if (fault === "Foreign") this.#bookForeign(intents[0]);
    const spared = fault === "ItemError" ? intents[0] : undefined;
    const verdicts = this.#book(spared ? intents.slice(1) : intents);
    const items: object[] = verdicts.map((verdict) => toBatchItem(verdict, this.#call()));
    if (spared) items.push({ ...toItem(spared), status: "Error" });
    if (fault === "Shuffle") items.reverse();
    if (fault === "Missing") items.pop();
    return JSON.stringify({ result: items, count: items.length });
  }

  #book(intents: readonly Intent[]): Verdict[] {
    const call = this.#call();
    return intents.map((intent) => {
      const verdict = submitItem(this.state, toItem(intent), call);
      if (verdict.status === "Accepted") addTo(this.ours, verdict.booked);
      return verdict;
    });
  }

  #bookForeign(intent: Intent | undefined): void {
    if (!intent) return;
    const before = this.#slotOf(intent);
    bookForeign(this.state, toItem(intent), {
      quantity: Math.ceil(Number(intent.quantity) / 2),
      call: this.#call(),
    });
    const booked = this.#slotOf(intent);
    if (booked && !before) addTo(this.foreign, booked);
  }

  #slotOf(intent: Intent): { readonly dimension: string; readonly quantity: number } | undefined {
    const hour = this.state.hours.get(`${parseHourKey(intent.hour) / HOUR_MS} ${RESOURCE.toLowerCase()}`);
    return hour?.find((event) => event.dimension === intent.dimension);
  }

  #call(): CallContext {
    const newId = (): string => `id-${(this.#ids += 1)}`;
    return { callerClientId: "us", nowMs: this.#now(), switches: this.switches, newId };
  }
}

function toItem(intent: Intent): Record<string, unknown> {
  return {
    resourceUri: intent.offerResourceId,
    quantity: Number(intent.quantity),
    dimension: intent.dimension,
    effectiveStartTime: intent.effectiveStartTime,
    planId: intent.planId,
  };
}

function addTo(units: Map<string, number>, event: { readonly dimension: string; readonly quantity: number }): void {
  units.set(event.dimension, (units.get(event.dimension) ?? 0) + event.quantity);
}
