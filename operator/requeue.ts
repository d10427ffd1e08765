import type { AgentDeploymentSpec } from "#core/api/agent-deployment.ts";
import type { Problem } from "./accept.ts";
import type { MeteringFacts } from "./metering-facts.ts";
import type { PodView } from "./pods.ts";

/** Everything is looked at this often, whatever the watches say. */
const RESYNC_MS = 600_000;
/** A Service or ConfigMap that must appear is not watched: anybody may own it. */
const REFERENCE_MS = 15_000;
/** The same for a ConfigMap that is there: its edits reach the pods as fast as those of the spec. */
const INSTRUCTIONS_MS = 60_000;
/** Only the kubelet's events tell why a pod does not start. */
const WAITING_POD_MS = 5_000;
/** Hours close and grants end without an event. */
const METERING_MS = 300_000;

/** When to look at an agent again although nothing changes, in milliseconds. */
export function nextLookMs(view: {
  readonly problems: readonly Problem[];
  readonly pods: readonly PodView[];
  readonly metering: MeteringFacts;
  readonly spec: AgentDeploymentSpec | undefined;
}): number {
  const { metering } = view;
  const misses = view.problems.some(({ reason }) => reason === "ServiceNotFound" || reason === "ConfigMapNotFound");
  const ends = [...metering.entitlements.values()]
    .map((entitlement) => Date.parse(entitlement.validUntil) - metering.nowMs)
    .filter((ms) => ms > 0);
  return Math.min(
    RESYNC_MS,
    ...(misses ? [REFERENCE_MS] : []),
    ...(view.spec?.instructionsFrom ? [INSTRUCTIONS_MS] : []),
    ...(view.pods.some((pod) => pod.state === "Waiting") ? [WAITING_POD_MS] : []),
    ...(metering.offerResourceId === "plain" ? [] : [METERING_MS]),
    ...ends.map((ms) => ms + 1_000),
  );
}
