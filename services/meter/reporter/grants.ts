import type { PodUsage } from "#core/api/pod-usage.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { livePods, toPodView, type PodView } from "#core/counted.ts";
import { grantDue, type GrantTerms, toGrants } from "#core/entitlement.ts";
import { type Holder, limitedDimensions, limitsNow, planLeases, unspentOf } from "#core/leases.ts";
import { hourKey } from "#core/time.ts";
import { ConflictError, type Desk, swapLedger, type Versioned } from "./desk.ts";

/** Grants written per cycle: a change that touches every pod must not flood the API server. */
const WRITES_PER_CYCLE = 500;
/** A new leader gives nobody more before it has stamped all: that may take more of a cycle. */
const STAMPS_PER_CYCLE = 2000;
/** Ended pods that one cycle looks for, to give back what they left unspent. */
const GONE_PER_CYCLE = 50;

export interface GrantInput {
  readonly ledger: Versioned<Ledger>;
  /** Listed after the ledger was read. */
  readonly pods: readonly PodUsage[];
  readonly offsetSeconds: number;
}

/** New ceilings of one pod by base dimension. */
type Ceilings = ReadonlyMap<string, bigint>;

/**
 * Entitlement, clock offset, K and leases reach each pod as a grant with an end: written when something changed, else at
 * half of its life. Nobody renews the grants of agents that an uninstall left behind. Returns the ledger, whose term may
 * have risen.
 */
export async function renewGrants(desk: Desk, input: GrantInput): Promise<Versioned<Ledger>> {
  const limited = limitedDimensions(desk.terms.plan, desk.terms.catalogue);
  const ledger = limited.length === 0 ? input.ledger : await holdTerm(desk, input);
  const terms = termsOf(desk, input, limited);
  const unstamped = limited.length === 0 ? [] : input.pods.filter((pod) => !isStamped(desk, pod, terms.term));
  if (unstamped.length > 0) await stampPods(desk, unstamped, terms);
  else await writeGrants(desk, input, { terms, ceilings: await planCeilings(desk, { ...input, ledger }) });
  return ledger;
}

function termsOf(desk: Desk, input: GrantInput, limited: readonly string[]): GrantTerms {
  return {
    mode: desk.terms.mode,
    planId: desk.terms.planId,
    plan: desk.terms.plan,
    lifeSeconds: desk.terms.grantLifeSeconds,
    offsetSeconds: input.offsetSeconds,
    term: desk.memory.term ?? 0,
    nowMs: desk.now(),
    checkpointSeconds: desk.terms.checkpointSeconds,
    podCount: input.pods.length,
    limited,
  };
}

/**
 * A term that no grant carries yet. After a ledger was lost or restored its term may be one that another leader has
 * written grants with; the swap proves that no newer leader holds the ledger.
 */
async function holdTerm(desk: Desk, input: GrantInput): Promise<Versioned<Ledger>> {
  const { memory } = desk;
  const term = memory.term ?? 0;
  const highest = Math.max(0, ...input.pods.map((pod) => pod.spec.grants?.term ?? 0));
  if (memory.leases.isTermHeld && highest > term) throw new ConflictError("grants as a newer leader holds them");
  if (memory.leases.isTermHeld || highest < term) {
    memory.leases.isTermHeld = true;
    return input.ledger;
  }
  const value = { ...input.ledger.value, term: highest + 1 };
  const written = await swapLedger(desk, { value, version: input.ledger.version });
  memory.term = highest + 1;
  memory.leases.isTermHeld = true;
  return written;
}

function isStamped(desk: Desk, pod: PodUsage, term: number): boolean {
  return pod.spec.grants?.term === term && !desk.memory.leases.doubts.has(pod.metadata.name);
}

/**
 * Before a leader grants anything it writes its term into every PodUsage, with the ceilings as they stand: the version
 * changes, so a write still under way from the leader before fails. The end of the grant is new each time, so that the
 * write is never empty.
 */
async function stampPods(desk: Desk, pods: readonly PodUsage[], terms: GrantTerms): Promise<void> {
  for (const pod of pods.slice(0, STAMPS_PER_CYCLE)) {
    const result = await desk.books.applyGrants(pod, toGrants(terms, pod.spec));
    if (result === "Written") desk.memory.leases.doubts.delete(pod.metadata.name);
  }
  desk.log.info({ pods: pods.length, term: terms.term }, "Stamped grants");
}

async function writeGrants(
  desk: Desk,
  input: GrantInput,
  plan: { readonly terms: GrantTerms; readonly ceilings: ReadonlyMap<string, Ceilings> },
): Promise<void> {
  const known = new Set(input.pods.map((pod) => pod.metadata.name));
  for (const uid of desk.memory.leases.doubts) if (!known.has(uid)) desk.memory.leases.doubts.delete(uid);
  const leased = input.pods.filter((pod) => plan.ceilings.has(pod.metadata.name));
  const rest = input.pods.filter((pod) => !plan.ceilings.has(pod.metadata.name) && grantDue(pod.spec, plan.terms));
  for (const pod of [...leased, ...rest].slice(0, WRITES_PER_CYCLE)) {
    const { namespace, name } = pod.metadata;
    const ceilings = plan.ceilings.get(name);
    if (ceilings) desk.memory.leases.doubts.add(name);
    const grants = toGrants(plan.terms, pod.spec, ceilings);
    const result = await desk.books.applyGrants(pod, grants);
    desk.memory.leases.doubts.delete(name);
    desk.log.info({ namespace, name, state: grants.entitlement.state, result }, "Renewed grant");
  }
}

/** The ceilings that should change, by pod UID and base dimension. */
async function planCeilings(desk: Desk, input: GrantInput): Promise<ReadonlyMap<string, Ceilings>> {
  const { plan, catalogue } = desk.terms;
  const ledger = input.ledger.value;
  const views = input.pods.map(toPodView);
  const next = new Map<string, Map<string, bigint>>();
  const living = new Set(livePods(ledger, views).map((view) => view.uid));
  const limits = limitsNow({ ledger, pods: views, plan, catalogue, hour: hourKey(desk.now()) });
  desk.memory.leases.limits = limits;
  for (const limit of limits) {
    const holders: Holder[] = [];
    for (const [index, pod] of input.pods.entries()) {
      const view = views[index];
      if (view && living.has(view.uid)) holders.push(toHolder(pod, view, limit.dimension));
    }
    const gone = await findGone(desk, input.pods, holders);
    const present = holders.filter((holder) => !gone.has(holder.uid));
    for (const [uid, upTo] of planLeases(limit, present))
      next.set(uid, (next.get(uid) ?? new Map<string, bigint>()).set(limit.dimension, upTo));
  }
  return next;
}

/** Pods that said their last word and are gone: what they left unspent waits for nobody, though their hour is not closed. */
async function findGone(desk: Desk, pods: readonly PodUsage[], holders: readonly Holder[]): Promise<Set<string>> {
  const unspent = new Set(holders.filter((holder) => unspentOf(holder) > 0n).map((holder) => holder.uid));
  const ended = pods.filter((pod) => pod.status?.final === "Yes" && unspent.has(pod.metadata.name));
  const gone = new Set<string>();
  for (const pod of ended.slice(0, GONE_PER_CYCLE)) if (await desk.books.isPodGone(pod)) gone.add(pod.metadata.name);
  return gone;
}

function toHolder(pod: PodUsage, view: PodView, dimension: string): Holder {
  const total = view.totals.get(dimension) ?? 0n;
  const upTo = pod.spec.grants?.leases?.find((lease) => lease.dimension === dimension)?.upTo;
  const echo = pod.status?.leases?.find((lease) => lease.dimension === dimension);
  return {
    uid: view.uid,
    total,
    upTo: upTo === undefined ? undefined : BigInt(upTo),
    ack: echo === undefined ? undefined : BigInt(echo.ack),
    want: echo === undefined ? total : BigInt(echo.want),
  };
}
