import type { Intent } from "#core/api/usage-statement.ts";
import type { PostAnswer } from "#core/outcome.ts";
import { HOUR_MS, parseHourKey } from "#core/time.ts";
import { toBatchItem } from "../../services/emulator/metering-answers.ts";
import { findClash, refuseWhole } from "../../services/emulator/metering-batch.ts";
import { listUsage } from "../../services/emulator/metering-list.ts";
import {
  bookForeign,
  createMeteringState,
  findResource,
  putResource,
  submitItem,
  type CallContext,
} from "../../services/emulator/metering-store.ts";
import { defaultSwitches, type Switches } from "../../services/emulator/switches.ts";
import type { ListAnswer } from "../../services/meter/reporter/desk.ts";
import { type HttpReply, readBatchReply, readUsageRows } from "../../services/meter/reporter/marketplace-answers.ts";
import { postInBatches } from "../../services/meter/reporter/marketplace-batch.ts";
import type { PostFault } from "./events.ts";
import { RESOURCE, type Setup } from "./setup.ts";

/** Faults under which nothing is booked. */
const REFUSED: Partial<Record<PostFault, { readonly status: number; readonly text: string }>> = {
  Http500: { status: 500, text: "oops" },
  Http429: { status: 429, text: "slow down" },
  Http403: { status: 403, text: '{"code":"Forbidden","message":"no"}' },
  Http400: { status: 400, text: '{"code":"BadArgument","message":"One or more errors have occurred."}' },
};

const NO_REPLY: HttpReply = { status: 0, text: "", requestId: "r", failure: "no answer" };

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
  /** Whether these questions, which read each item once more, can have an answer at all. */
  readonly #mayRefuseWhole: boolean;
  readonly #mayClash: boolean;
  #ids = 0;

  constructor(setup: Setup, now: () => number) {
    this.switches = { ...defaultSwitches, ...setup.switches };
    this.#now = now;
    const { malformedInBatch, notOwnedInBatch, sameHourInBatch, sameSlotInBatch } = this.switches;
    this.#mayRefuseWhole = [malformedInBatch, notOwnedInBatch, sameHourInBatch, sameSlotInBatch].includes("WholeCall");
    this.#mayClash = sameHourInBatch === "Item" || sameSlotInBatch === "Item";
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
      planId: setup.planId,
      plans,
    });
  }

  /** Whether events of the former plan are still taken says a switch. */
  changePlan(planId: string): void {
    const resource = findResource(this.state, RESOURCE);
    if (!resource) return;
    const former = { planId: resource.planId ?? "", untilMs: this.#now() };
    const others = (resource.formerPlans ?? []).filter((plan) => plan.planId !== former.planId);
    putResource(this.state, { ...resource, planId, formerPlans: [...others, former] });
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

  /** One post as the product's adapter makes it. `delay` takes a request that lands later. */
  post(intents: readonly Intent[], delay: (land: () => void) => void): Promise<PostAnswer[]> {
    return postInBatches(async (batch) => this.#send(batch, delay), intents);
  }

  #send(intents: readonly Intent[], delay: (land: () => void) => void): HttpReply {
    if (this.#now() < this.downUntilMs) return NO_REPLY;
    const fault = this.faults.shift();
    if (fault === "Delay") {
      delay(() => void this.#answer(intents, undefined));
      return NO_REPLY;
    }
    if (fault === "LoseRequest") return NO_REPLY;
    const refused = fault === undefined ? undefined : REFUSED[fault];
    if (refused) return { ...refused, requestId: "r", dateMs: this.#now() };
    const reply = { ...this.#answer(intents, fault), dateMs: this.#now() };
    if (fault === "LoseAnswer") return NO_REPLY;
    return fault === "Truncate" ? { ...reply, text: reply.text.slice(0, 40) } : reply;
  }

  /** What the adapter says when no answer came. */
  unanswered(intents: readonly Intent[]): PostAnswer[] {
    return readBatchReply(NO_REPLY, intents);
  }

  list(sinceDay: string): ListAnswer {
    if (this.#now() < this.downUntilMs || this.listFault === "Down")
      return { ok: false, refused: false, message: "down" };
    if (this.listFault === "Refused" || !this.switches.listAllowed)
      return { ok: false, refused: true, message: "HTTP status 403" };
    const context = { callerClientId: "us", nowMs: this.#now(), switches: this.switches };
    const rows = listUsage(this.state, { startMs: parseHourKey(`${sinceDay}00`) }, context);
    return { ok: true, rows: readUsageRows(JSON.stringify(rows)) ?? [], dateMs: this.#now() };
  }

  #answer(intents: readonly Intent[], fault: PostFault | undefined): HttpReply {
    const call = this.#call();
    const items = intents.map(toItem);
    const whole = this.#mayRefuseWhole ? refuseWhole(this.state, items, call) : undefined;
    if (whole) return { status: whole.status, text: JSON.stringify(whole.body), requestId: "r" };
    if (fault === "Foreign") this.#bookForeign(intents[0]);
    const result = items.map((item, index) =>
      fault === "ItemError" && index === 0
        ? { ...item, status: "Error" }
        : this.#answerItem(item, items.slice(0, index)),
    );
    if (fault === "Shuffle") result.reverse();
    if (fault === "Missing") result.pop();
    return { status: 200, text: JSON.stringify({ result, count: result.length }), requestId: "r" };
  }

  /** Judged, booked and answered as the emulator does it. */
  #answerItem(item: Record<string, unknown>, before: readonly Record<string, unknown>[]): Record<string, unknown> {
    const call = this.#call();
    const clash = this.#mayClash ? findClash(before, item, call.switches) : undefined;
    if (clash) return toBatchItem({ status: "Refused", refusal: clash.refusal, echo: item }, call);
    const verdict = submitItem(this.state, item, call);
    if (verdict.status === "Accepted") addTo(this.ours, verdict.booked);
    return toBatchItem(verdict, call);
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
