import type { Account, Ledger } from "./api/usage-ledger.ts";
import { acceptedOf, reservedOf } from "./ledger.ts";
import { maxOf } from "./shares.ts";

/** What an SRE sees of one Marketplace dimension, in units as doubles: for eyes and alerts, never for money. */
export interface AccountView {
  readonly dimension: string;
  /** Due and not accepted yet: in open slots, or in none. */
  readonly unposted: number;
  /** Written off for good. */
  readonly dropped: number;
  /** Accepted, reserved or dropped beyond what is due. */
  readonly overAccepted: number;
  /** Share of what was accepted or reserved that no agent owns, 0 to 1. */
  readonly unattributed: number;
}

/** The accounts of a ledger as an SRE sees them. */
export function viewAccounts(ledger: Ledger): AccountView[] {
  return ledger.accounts.map((account) => ({
    dimension: account.dimension,
    unposted: toUnits(account, BigInt(account.backlog) + reservedOf(account)),
    dropped: toUnits(account, BigInt(account.dropped)),
    overAccepted: toUnits(account, BigInt(account.overAccepted ?? "0")),
    unattributed: unattributedOf(ledger, account),
  }));
}

/** The oldest hour with usage that is in no slot yet; nothing when all is posted or on its way. */
export function oldestUnposted(ledger: Ledger): string | undefined {
  return ledger.accounts
    .flatMap((account) => account.oldestUnpostedHour ?? [])
    .toSorted()
    .at(0);
}

/** Attributions hold what each agent was billed. What a foreign writer posted, or a lost ledger knew, has no owner there. */
function unattributedOf(ledger: Ledger, account: Account): number {
  const claimed = acceptedOf(account) + reservedOf(account);
  if (claimed === 0n) return 0;
  const owned = ledger.attributions
    .filter((entry) => entry.dimension === account.dimension)
    .reduce((sum, entry) => sum + BigInt(entry.billed), 0n);
  return Number((maxOf(0n, claimed - owned) * 1_000_000n) / claimed) / 1_000_000;
}

function toUnits(account: Account, baseUnits: bigint): number {
  return Number(baseUnits) / Number(account.divisor);
}
