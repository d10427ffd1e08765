import type { Account, Ledger } from "./api/usage-ledger.ts";
import { replaceAccount } from "./ledger.ts";
import { openPeriod, periodOf } from "./overage.ts";
import type { Catalogue, CatalogueDimension, Plan } from "./plan.ts";
import { parseHourKey, shiftHour } from "./time.ts";

/**
 * An account for every dimension of the plan that has none. Before a ledger has closed an hour they open at zero, so that
 * usage counted before its birth is billed late rather than lost; later ones open at what was counted when they came.
 */
export function openAccounts(
  ledger: Ledger,
  input: { readonly catalogue: Catalogue; readonly plan: Plan | undefined },
): Ledger {
  const known = new Set(ledger.accounts.map((account) => account.dimension));
  const missing = (input.plan?.dimensions ?? []).filter((dimension) => !known.has(dimension.id));
  const added = missing.flatMap(({ id }) => {
    const dimension = input.catalogue.dimensions.find((entry) => entry.id === id);
    return dimension ? [openAccount(ledger, dimension, input.plan)] : [];
  });
  return added.reduce((next, account) => ({ ...next, accounts: replaceAccount(next.accounts, account) }), ledger);
}

function openAccount(ledger: Ledger, dimension: CatalogueDimension, plan: Plan | undefined): Account {
  const blank = blankAccount(dimension);
  const anchorMs = Date.parse(ledger.anchor);
  if (anchorMs <= parseHourKey(ledger.lastClosedHour)) return blank;
  const identity = { dimension: dimension.id, divisor: BigInt(dimension.divisor) };
  const period = periodOf(plan, identity, { hour: shiftHour(ledger.lastClosedHour, 1), anchorMs });
  return openPeriod(blank, period, { edge: ledger.lastClosedHour, opening: 0n });
}

/**
 * A ledger with an account for each of these dimensions that the catalogue knows: a backup from before a plan change has none of
 * what the new plan sells, and what was accepted of it must find its place before it is due again.
 */
export function openListed(ledger: Ledger, ids: ReadonlySet<string>, catalogue: Catalogue): Ledger {
  const known = new Set(ledger.accounts.map(({ dimension }) => dimension));
  const missing = catalogue.dimensions.filter(({ id }) => ids.has(id) && !known.has(id));
  return missing.length === 0 ? ledger : { ...ledger, accounts: [...ledger.accounts, ...missing.map(blankAccount)] };
}

/** An account with nothing in it and no period yet. */
export function blankAccount({ id, from, divisor }: CatalogueDimension): Account {
  return {
    dimension: id,
    from,
    divisor,
    dueClosed: "0",
    periods: [],
    segments: [],
    acceptedBefore: "0",
    acceptedDays: [],
    reservations: [],
    dropped: "0",
    backlog: "0",
    usualHour: "0",
  };
}
