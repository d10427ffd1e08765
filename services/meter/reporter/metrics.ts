import { Counter, Gauge, type Registry } from "prom-client";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { openSlots } from "#core/ledger.ts";
import { METRICS } from "#core/metric-names.ts";
import type { PostAnswer } from "#core/outcome.ts";
import { parseHourKey } from "#core/time.ts";
import type { Terms } from "./desk.ts";

export interface ReporterMetrics {
  leading(isLeader: boolean): void;
  posted(answer: PostAnswer): void;
  accepted(slot: { readonly dimension: string }, units: number): void;
  ledger(ledger: Ledger): void;
  skewMs(skewMs: number): void;
}

/** Answers that have a name of their own in the metric; anything else is `other`, so that the label set stays bounded. */
const STATUSES = new Set([
  "Accepted",
  "Duplicate",
  "Expired",
  "Error",
  "ResourceNotFound",
  "ResourceNotAuthorized",
  "ResourceNotActive",
  "InvalidDimension",
  "InvalidQuantity",
  "BadArgument",
  "NoAnswer",
]);

/** What an SRE must see of the reporter: what is open, what is parked, what was accepted. */
export function createReporterMetrics(registry: Registry, terms: Terms): ReporterMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[] = []): Gauge =>
    new Gauge({ name, help, labelNames, registers });
  const leader = gauge(METRICS.leaderStatus, "1 while this process leads.", ["name"]);
  const lastClosed = gauge(METRICS.reporterLastClosedHour, "Start of the last closed hour.");
  const oldestOpen = gauge(METRICS.reporterOldestOpenSlot, "Start of the oldest slot without an answer; 0 for none.");
  const parked = gauge(METRICS.reporterParkedDimensions, "Dimensions that are counted but not posted.");
  const skew = gauge(METRICS.reporterClockSkewSeconds, "This node's clock less the API server's.");
  const posts = new Counter({
    name: METRICS.reporterPosts,
    help: "Answers to usage events by status.",
    labelNames: ["status"],
    registers,
  });
  const units = new Counter({
    name: METRICS.reporterAcceptedUnits,
    help: "Units that Azure accepted, seen by this process.",
    labelNames: ["dimension"],
    registers,
  });
  gauge(METRICS.reporterMode, "How usage is reported.", ["mode", "plan"]).set(
    { mode: terms.mode, plan: terms.planId },
    1,
  );
  gauge(METRICS.catalogueInfo, "The catalogue in force.", ["digest"]).set({ digest: terms.catalogueDigest }, 1);
  leader.set({ name: "supercargo-reporter" }, 0);
  return {
    leading: (isLeader) => leader.set({ name: "supercargo-reporter" }, isLeader ? 1 : 0),
    posted: (answer) => posts.inc({ status: STATUSES.has(answer.status) ? answer.status : "other" }),
    accepted: (slot, accepted) => units.inc({ dimension: slot.dimension }, accepted),
    ledger(ledger) {
      lastClosed.set(parseHourKey(ledger.lastClosedHour) / 1000);
      const oldest = openSlots(ledger)[0]?.hour;
      oldestOpen.set(oldest === undefined ? 0 : parseHourKey(oldest) / 1000);
      parked.set(ledger.parked.length);
    },
    skewMs: (skewMs) => skew.set(skewMs / 1000),
  };
}
