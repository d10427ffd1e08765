import type { Statement } from "#core/api/usage-statement.ts";
import { type Catalogue, findPlan } from "#core/plan.ts";
import { HOUR_MS } from "#core/time.ts";
import { putResource } from "../../services/emulator/metering-store.ts";
import { createMemory, type Desk } from "../../services/meter/reporter/desk.ts";
import { GUID, MeterWorld, RESOURCE } from "../simulation/meter-world.ts";

const MONTH_MS = Date.UTC(2026, 10, 1);
const PODS = { orders: "shop/orders", refunds: "shop/refunds" } as const;
export type PodName = keyof typeof PODS;
const POD_NAMES = ["orders", "refunds"] as const satisfies readonly PodName[];

/** One thing that happens in the worked month of docs/metering.md. `at` is an instant of November 2026. */
export type Happening = { readonly atMs: number } & (
  | { readonly kind: "use"; readonly pod: PodName; readonly dimension: string; readonly amount: bigint }
  /** The pod's node loses the API server; what it counts reaches the books when it is back. */
  | { readonly kind: "cutOff" | "isBack"; readonly pod: PodName }
  /** Azure books the next post, and its answer is lost. */
  | { readonly kind: "loseAnswer" }
  /** The customer buys another plan: Azure restarts the reporter with its id. */
  | { readonly kind: "buy"; readonly planId: string }
);

export interface Month {
  /** Every receipt, oldest slot first. */
  readonly statements: readonly Statement[];
  /** Units that Azure booked, by plan and dimension. */
  readonly booked: ReadonlyMap<string, number>;
}

/**
 * Plays November 2026 with the product's own reporter against the emulator's books: sidecars publish at each hour and
 * the leader works through every turn. Begins on 1 November at 00:05 with the first plan of the catalogue.
 */
export async function playMonth(catalogue: Catalogue, happenings: readonly Happening[]): Promise<Month> {
  const play = openPlay(catalogue);
  await play.turn();
  for (const happening of happenings) {
    await passUntil(play, happening.atMs);
    await happen(play, happening);
  }
  await passUntil(play, MONTH_MS + 30 * 24 * HOUR_MS - 60_000);
  play.world.advance(15 * 60_000);
  for (let turns = 0; turns < 3; turns += 1) await play.turn();
  const statements = [...play.world.statements.values()].map(({ value }) => value);
  return { statements: statements.toSorted(bySlot), booked: sumBooked(play.world) };
}

interface Play {
  readonly world: MeterWorld;
  /** Pods that cannot publish. */
  readonly cutOff: Set<PodName>;
  buy(planId: string): void;
  turn(): Promise<void>;
}

function openPlay(catalogue: Catalogue): Play {
  const world = new MeterWorld();
  world.nowMs = MONTH_MS + 5 * 60_000;
  sell(world, catalogue);
  for (const name of POD_NAMES) world.addPod(name, PODS[name]);
  const cutOff = new Set<PodName>();
  let desk = openDesk(world, catalogue, catalogue.plans[0]?.id ?? "");
  return {
    world,
    cutOff,
    buy: (planId) => void (desk = openDesk(world, catalogue, planId)),
    async turn() {
      for (const name of POD_NAMES) if (!cutOff.has(name)) world.publish(name);
      await world.cycle(desk);
    },
  };
}

async function happen(play: Play, happening: Happening): Promise<void> {
  switch (happening.kind) {
    case "use":
      return play.world.use(happening.pod, happening.dimension, happening.amount);
    case "cutOff":
      return void play.cutOff.add(happening.pod);
    case "isBack":
      return void play.cutOff.delete(happening.pod);
    case "loseAnswer":
      return void play.world.faults.push("LoseAnswer");
    case "buy":
      play.buy(happening.planId);
      return play.turn();
  }
}

/** Every hour the sidecars publish their boundary; while one is cut off the leader also looks when the grace is over. */
async function passUntil(play: Play, untilMs: number): Promise<void> {
  const { world, cutOff } = play;
  while (world.nowMs < untilMs) {
    const sinceEdgeMs = world.nowMs % HOUR_MS;
    const isInGrace = cutOff.size > 0 && sinceEdgeMs < GRACE_MS;
    const nextMs = world.nowMs - sinceEdgeMs + (isInGrace ? GRACE_MS : HOUR_MS + 1000);
    world.advance(Math.min(nextMs, untilMs) - world.nowMs);
    await play.turn();
  }
}

/** 2K + S, and a second. */
const GRACE_MS = 126_000;

function openDesk(world: MeterWorld, catalogue: Catalogue, planId: string): Desk {
  const desk = world.desk();
  const plan = findPlan(catalogue, planId);
  const mode = plan?.billing === "Custom" ? ("Marketplace" as const) : ("Silent" as const);
  return { ...desk, memory: createMemory(), terms: { ...desk.terms, mode, catalogue, plan, planId } };
}

function sell(world: MeterWorld, catalogue: Catalogue): void {
  const plans = catalogue.plans.map(({ id, dimensions }) => ({
    planId: id,
    dimensions: dimensions.map((sold) => sold.id),
  }));
  const resource = { resourceUri: RESOURCE, resourceId: GUID, ownerClientId: "us", offerId: "offer" };
  putResource(world.metering, { ...resource, state: "Active", plans });
}

function sumBooked(world: MeterWorld): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { planId, dimension, quantity } of world.booked()) {
    const key = `${planId} ${dimension}`;
    sums.set(key, (sums.get(key) ?? 0) + quantity);
  }
  return sums;
}

function bySlot(a: Statement, b: Statement): number {
  const key = ({ intent }: Statement): string => `${intent.hour} ${intent.dimension}`;
  return key(a) < key(b) ? -1 : 1;
}
