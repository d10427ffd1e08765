import type { Grants, PodUsage } from "#core/api/pod-usage.ts";
import { grantDue, type GrantTerms, toGrants } from "#core/entitlement.ts";
import type { Desk } from "./desk.ts";

/** Grants written per cycle: a change that touches every pod must not flood the API server. */
const WRITES_PER_CYCLE = 500;

/**
 * Entitlement, clock offset and term reach each pod as a grant with an end: written when something changed, else at half
 * of its life. Nobody renews the grants of agents that an uninstall left behind.
 */
export async function renewGrants(desk: Desk, pods: readonly PodUsage[], offsetSeconds: number): Promise<void> {
  const terms: GrantTerms = {
    mode: desk.terms.mode,
    planId: desk.terms.planId,
    planKnown: desk.terms.plan !== undefined,
    lifeSeconds: desk.terms.grantLifeSeconds,
    offsetSeconds,
    term: desk.memory.term ?? 0,
    nowMs: desk.now(),
  };
  const due = pods.filter((pod) => grantDue(pod.spec.grants, terms)).slice(0, WRITES_PER_CYCLE);
  for (const pod of due) await renew(desk, pod, toGrants(terms, pod.spec.grants));
}

async function renew(desk: Desk, pod: PodUsage, grants: Grants): Promise<void> {
  const result = await desk.books.applyGrants(pod, grants);
  desk.log.info(
    { namespace: pod.metadata.namespace, name: pod.metadata.name, state: grants.entitlement.state, result },
    "Renewed grant",
  );
}
