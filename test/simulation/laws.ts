import type { Account, Ledger } from "#core/api/usage-ledger.ts";
import { countedByAgent, sumOf, toPodView } from "#core/counted.ts";
import { acceptedOf, reservedOf } from "#core/ledger.ts";
import { toBaseUnits } from "#core/outcome.ts";
import { dueAt } from "#core/overage.ts";
import { HOUR_MS, parseHourKey } from "#core/time.ts";
import { dueByOracle, isPeriodVague, movedFees } from "./oracle.ts";
import { checkCaps } from "./cap-law.ts";
import { USED } from "./catalogues.ts";

import type { World } from "./world.ts";

/** What one history amounts to, in base units where nothing else is said. */
export interface Figures {
  used: bigint;
  /** By row of the failure table. */
  readonly lost: Map<string, bigint>;
  overBilledUnits: number;
  /** Billed too much where the publisher chose to (row 13): no list asked after a ledger was lost. */
  riskedUnits: number;
  underBilledUnits: number;
}

/** A sidecar's ring holds the true hour of what is looked at before this age. */
const LATE_MS = 25 * HOUR_MS;
/** What Azure still takes, with a margin for the way. */
const SENDABLE_MS = 23 * HOUR_MS + 50 * 60_000;

const checked = new WeakSet<object>();

/** The laws that hold at every step, whatever happened. */
export function checkStep(world: World): void {
  for (const [base] of USED) {
    const counted = countedOf(world, base);
    const accepted = acceptedByUs(world, base);
    if (accepted > counted && !isRiskTaken(world))
      world.report("I1", `${accepted} of ${base} were accepted, ${counted} were counted`);
  }
  checkCaps(world);
  const ledger = world.api.ledger;
  if (!ledger) noteOpenStatements(world);
  if (!ledger) return;
  const { lastClosedHour, oldestOpenHour = "9999123123" } = ledger.value;
  const ageMs = world.apiNowMs() - parseHourKey(lastClosedHour);
  if (ageMs > LATE_MS) world.happened.add("Late");
  if (Math.max(ageMs - HOUR_MS, world.apiNowMs() - parseHourKey(oldestOpenHour)) >= SENDABLE_MS)
    world.happened.add("TooLate");
  if (checked.has(ledger)) return;
  checked.add(ledger);
  checkLedger(world, ledger.value);
}

/** Without a ledger the open slots stand in their statements alone. */
function noteOpenStatements(world: World): void {
  for (const { value } of world.api.statements.values())
    if (!value.outcome && world.apiNowMs() - parseHourKey(value.intent.hour) >= SENDABLE_MS)
      world.happened.add("TooLate");
}

function checkLedger(world: World, ledger: Ledger): void {
  const tombstones = new Set(ledger.tombstones.map(({ uid }) => uid));
  const objects = [...world.api.podUsages.values()];
  for (const [base] of USED) {
    const settled = ledger.settled.reduce(
      (sum, entry) => (entry.dimension === base ? sum + BigInt(entry.total) : sum),
      0n,
    );
    const live = objects
      .filter(({ metadata }) => !tombstones.has(metadata.name))
      .flatMap(({ status }) => status?.totals ?? [])
      .reduce((sum, entry) => (entry.dimension === base ? sum + BigInt(entry.total) : sum), 0n);
    const counted = countedOf(world, base);
    if (settled + live > counted)
      world.report("I6", `${settled} settled and ${live} live of ${base} are more than ${counted} counted`);
  }
  if (["Restore", "DeleteLedger", "DeletePodUsage"].some((what) => world.happened.has(what))) return;
  if (saysTooMuch(world)) return;
  const pods = objects.map(toPodView);
  for (const account of ledger.accounts) {
    const due = dueAt(account, { ledger, pods, hour: "9999123123" }) + foreignOf(world, account);
    const claimed = acceptedOf(account) + reservedOf(account);
    if (claimed > due) world.report("I4", `${account.dimension} claims ${claimed} of ${due} due`);
  }
}

/** The laws that hold once all faults are over: I2, I7, I10, and what the history amounts to. */
export function checkHealed(world: World): Figures {
  const figures: Figures = { used: 0n, lost: new Map(), overBilledUnits: 0, riskedUnits: 0, underBilledUnits: 0 };
  addLosses(world, figures);
  const ledger = world.api.ledger?.value;
  if (!ledger) {
    world.report("I2", "there is no ledger after healing");
    return figures;
  }
  if (ledger.oldestOpenHour !== undefined) world.report("I2", `slot ${ledger.oldestOpenHour} is open after healing`);
  for (const account of ledger.accounts) checkAccount(world, { ledger, account }, figures);
  return figures;
}

function checkAccount(
  world: World,
  { ledger, account }: { readonly ledger: Ledger; readonly account: Account },
  figures: Figures,
): void {
  const divisor = BigInt(account.divisor);
  const isVague = isPeriodVague(world, account.dimension);
  const due = isVague ? countedOf(world, account.from) : dueByOracle(world, ledger, account.dimension);
  const foreign = foreignOf(world, account);
  const dropped = BigInt(account.dropped);
  const accepted = bookedBy(world.market.ours, account);
  const left = due - accepted - foreign - dropped;
  const text = `${account.dimension}: ${due} due, ${accepted} accepted of us, ${foreign} of others, ${dropped} dropped`;
  const moved = movedFees(world, account.dimension);
  if (accepted > due + moved)
    noteOverBilled(world, figures, { units: Number((accepted - due - moved + divisor - 1n) / divisor), text });
  if (left >= divisor) figures.underBilledUnits += Number(left / divisor);
  if (dropped > 0n) checkDropped(world, text);
  if (!isVague && moved === 0n && isWhole(world, account))
    checkExact(world, account, { left, foreign, accepted, text });
}

function checkExact(
  world: World,
  account: Account,
  found: { readonly left: bigint; readonly foreign: bigint; readonly accepted: bigint; readonly text: string },
): void {
  const { left, foreign, accepted, text } = found;
  const divisor = BigInt(account.divisor);
  if (left >= divisor) world.report("I2", `under-billed: ${text}`);
  if (left < 0n) world.report("I2", `more was claimed than is due: ${text}`);
  const credited = acceptedOf(account);
  if (credited !== accepted + foreign) world.report("I2", `the ledger credits ${credited}: ${text}`);
}

function noteOverBilled(
  world: World,
  figures: Figures,
  found: { readonly units: number; readonly text: string },
): void {
  const isTaken = isRiskTaken(world);
  figures[isTaken ? "riskedUnits" : "overBilledUnits"] += found.units;
  if (!isTaken) world.report("I2", `over-billed: ${found.text}`);
}

/** R10: only where the setting says so, and only what Azure would not have taken any more. */
function checkDropped(world: World, text: string): void {
  if (world.setup.lateUsage !== "Drop" || !world.happened.has("TooLate"))
    world.report("R10", `dropped without cause: ${text}`);
}

/**
 * Row 13: who does without Azure's list has no more protection when a ledger is lost and the list is silent. I1 and I2 may
 * be broken then, and then only.
 */
function isRiskTaken(world: World): boolean {
  const { happened, setup } = world;
  const isLost = happened.has("Restore") || happened.has("DeleteLedger");
  return !setup.reconcileRequired && isLost && happened.has("ListSilent");
}

/** Whether Azure may answer or list more for an hour than it booked: it is believed, and less is billed. */
function saysTooMuch(world: World): boolean {
  const { listDayOf, listCountsRepeats, slotHasDimension } = world.market.switches;
  return listDayOf === "MessageTime" || listCountsRepeats || !slotHasDimension;
}

/** Whether slots may be given up without the list, as accepted, or wait for ever for it. */
function isUnlisted(world: World): boolean {
  return !world.market.switches.listAllowed || (world.happened.has("ListSilent") && !world.setup.reconcileRequired);
}

/** Whether the plan of now sells the dimension: what another plan left unposted of it waits for ever. */
export function isSold(world: World, account: Account): boolean {
  const plan = world.setup.catalogue.plans.find(({ id }) => id === world.planId);
  return plan?.billing === "Custom" && plan.dimensions.some(({ id }) => id === account.dimension);
}

/** Whether a plan change may have left something unposted, or a restore have moved the change itself. */
function isLeftBehind(world: World, account: Account): boolean {
  return world.plansSeen.size > 1 && (world.happened.has("Restore") || !isSold(world, account));
}

/** Whether the ledger can know all that was counted, so that nothing may be missing either. */
function isWhole(world: World, account: Account): boolean {
  const { profile, calm } = world.setup;
  if (saysTooMuch(world) || isUnlisted(world) || isLeftBehind(world, account)) return false;
  if (profile === "Foreign") return calm;
  const ledger = world.api.ledger?.value;
  if (profile !== "Disaster" || !ledger) return true;
  if (["DeleteLedger", "DeletePodUsage", "ClockFell"].some((what) => world.happened.has(what))) return false;
  const pods = [...world.api.podUsages.values()].map(toPodView);
  const known = countedByAgent(ledger, pods, { dimension: account.from, hour: "9999123123" });
  return sumOf(known) === countedOf(world, account.from);
}

/** I7: what was used and never counted, by cause; more than the cause allows is a violation. */
function addLosses(world: World, figures: Figures): void {
  for (const pod of world.pods)
    for (const [base] of USED) {
      figures.used += pod.used.get(base) ?? 0n;
      const lost = pod.unpublished(base);
      if (lost === 0n) continue;
      figures.lost.set(pod.lossRow, (figures.lost.get(pod.lossRow) ?? 0n) + lost);
      const allowed = pod.allowedLossOf(base);
      if (lost > allowed)
        world.report("I7", `${pod.uid} lost ${lost} of ${base}, row ${pod.lossRow} allows ${allowed}`);
    }
}

/** Base units that sidecars have published, of pods alive and dead. */
function countedOf(world: World, base: string): bigint {
  let sum = 0n;
  for (const pod of world.pods) sum += pod.published.get(base) ?? 0n;
  return sum;
}

/** Base units of a base dimension that our own posts brought, over all tiers. */
function acceptedByUs(world: World, base: string): bigint {
  let sum = 0n;
  for (const { id, from, divisor } of world.setup.catalogue.dimensions)
    if (from === base) sum += BigInt(world.market.ours.get(id) ?? 0) * BigInt(divisor);
  return sum;
}

function foreignOf(world: World, account: Account): bigint {
  return bookedBy(world.market.foreign, account);
}

function bookedBy(units: ReadonlyMap<string, number>, account: Account): bigint {
  return toBaseUnits(String(units.get(account.dimension) ?? 0), BigInt(account.divisor));
}
