import { Gauge, type Registry } from "prom-client";
import { METRICS } from "#core/metric-names.ts";
import { createCounterFamily } from "#runtime/series.ts";
import type { Issuers } from "./issuers.ts";

/** What people see of the keys of issuers, by the issuer's URL as it is configured. */
export interface KeyMetrics {
  /** One look at an issuer. */
  note(issuer: string, outcome: "ok" | "failed"): void;
  /** Whose ages are shown. */
  watch(issuers: Pick<Issuers, "ages">): void;
}

/** Registers both families. Ages are looked up when somebody asks, and are those of the configuration in force. */
export function createKeyMetrics(registry: Registry): KeyMetrics {
  const fetches = createCounterFamily({
    registry,
    name: METRICS.gatewayKeyFetches,
    help: "Looks at an issuer for its keys, by outcome: ok, failed.",
    labelNames: ["issuer", "outcome"],
  });
  let watched: Pick<Issuers, "ages"> | undefined;
  void new Gauge({
    name: METRICS.gatewayKeyAge,
    help: "Time since an issuer's keys were fetched; since it was first looked for while there are none.",
    labelNames: ["issuer"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { issuer, ageMs } of watched?.ages() ?? []) this.set({ issuer }, ageMs / 1000);
    },
  });
  return {
    note: (issuer, outcome) => fetches.series({ issuer, outcome }).add(1),
    watch: (issuers) => void (watched = issuers),
  };
}
