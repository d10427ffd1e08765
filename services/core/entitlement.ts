import type { Grants } from "./api/pod-usage.ts";
import type { Ledger } from "./api/usage-ledger.ts";
import { toIso } from "./time.ts";

/** What the reporter knows when it writes grants. */
export interface GrantTerms {
  readonly mode: Ledger["mode"];
  readonly planId: string;
  /** The catalogue knows the plan; meaningless in plain mode. */
  readonly planKnown: boolean;
  readonly lifeSeconds: number;
  readonly offsetSeconds: number;
  readonly term: number;
  readonly nowMs: number;
}

/** Whether a pod's grant must be written: something differs, or half of its life is over. */
export function grantDue(current: Grants | undefined, terms: GrantTerms): boolean {
  if (!current) return true;
  const wanted = toGrants(terms, current);
  const leftMs = Date.parse(current.entitlement.validUntil) - terms.nowMs;
  return (
    current.entitlement.state !== wanted.entitlement.state ||
    current.entitlement.planId !== wanted.entitlement.planId ||
    current.clockOffsetSeconds !== wanted.clockOffsetSeconds ||
    !(leftMs >= terms.lifeSeconds * 500)
  );
}

/** The grant of one pod. The offset never falls; leases stay as they are. */
export function toGrants(terms: GrantTerms, current: Grants | undefined): Grants {
  return {
    term: terms.term,
    entitlement: {
      state: terms.mode === "Plain" || terms.planKnown ? "Active" : "Unknown",
      planId: terms.planId,
      validUntil: toIso(terms.nowMs + terms.lifeSeconds * 1000),
    },
    clockOffsetSeconds: Math.max(terms.offsetSeconds, current?.clockOffsetSeconds ?? 0),
    ...(current?.leases ? { leases: current.leases } : {}),
  };
}
