import type { Ledger } from "./api/usage-ledger.ts";
import type { Statement } from "./api/usage-statement.ts";
import { isDead, openSlots, replaceAccount } from "./ledger.ts";
import { recordEnding } from "./statement.ts";
import { toIso } from "./time.ts";

/** A person's word on a slot that nothing else settles. */
export interface SettleCommand {
  readonly as: "Billed" | "NotBilled";
  readonly by: string;
  readonly reason: string;
  readonly nowMs: number;
  /** Settle as not billed although a request may still land: what lands is billed a second time in a later slot. */
  readonly insist?: boolean;
}

export type Commanded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

/**
 * The statement of a slot as a person settles it. The ledger follows by itself: the leader finds the outcome and credits
 * it in step five of the post, so there is one way in which money enters the ledger. Write it by compare-and-swap.
 */
export function settleByCommand(ledger: Ledger, statement: Statement, command: SettleCommand): Commanded<Statement> {
  const { intent, outcome } = statement;
  const slot = `slot ${intent.hour} ${intent.dimension}`;
  if (command.by.trim() === "" || command.reason.trim() === "")
    return refuse(
      `Cannot settle ${slot} as name and reason must be given: current values are "${command.by}" and "${command.reason}"`,
    );
  if (outcome) return refuse(`Cannot settle ${slot} as it must have no outcome: current value is ${outcome.state}`);
  if (!openSlots(ledger).some((open) => open.hour === intent.hour && open.dimension === intent.dimension))
    return refuse(`Cannot settle ${slot} as the ledger must hold it open: it does not`);
  if (command.as === "NotBilled" && !command.insist && !isDead(intent.hour, command.nowMs))
    return refuse(`Cannot settle ${slot} as not billed as it must be older than 26 h, for a request may still land`);
  const ending = {
    state: "Settled" as const,
    acceptedBaseUnits: command.as === "Billed" ? BigInt(intent.baseUnits) : 0n,
    nowMs: command.nowMs,
    note: `Settled as ${command.as === "Billed" ? "billed" : "not billed"} by ${command.by}: ${command.reason}`,
  };
  return { ok: true, value: recordEnding(statement, ending) };
}

/** A parked dimension gets its chance now, without a change of plan or catalogue; who let it go stays in the account. */
export function unparkDimension(
  ledger: Ledger,
  command: Pick<SettleCommand, "by" | "reason" | "nowMs"> & { readonly dimension: string },
): Commanded<Ledger> {
  const account = ledger.accounts.find((entry) => entry.dimension === command.dimension);
  if (!account?.parked) {
    const parked = ledger.accounts.filter((entry) => entry.parked).map((entry) => entry.dimension);
    return refuse(
      `Cannot unpark dimension as it must be a parked one (${parked.join(", ") || "there is none"}): current value is ${command.dimension}`,
    );
  }
  const { parked: _, ...rest } = account;
  const unparked = { by: command.by, reason: command.reason, at: toIso(command.nowMs) };
  return { ok: true, value: { ...ledger, accounts: replaceAccount(ledger.accounts, { ...rest, unparked }) } };
}

function refuse(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}
