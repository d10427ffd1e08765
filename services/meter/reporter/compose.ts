import { randomUUID } from "node:crypto";
import { systemClock } from "#runtime/clock.ts";
import type { KubeClient } from "#runtime/kube/types.ts";
import type { Logger } from "#runtime/log.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { readClockOffset } from "./clock-offset.ts";
import type { Environment } from "./config.ts";
import type { Terms } from "./desk.ts";
import { createTokenSource } from "./identity.ts";
import { createKubeBooks } from "./kube.ts";
import { createMarketplace } from "./marketplace.ts";
import type { ReporterMetrics } from "./metrics.ts";
import { createReporter, type Reporter } from "./reporter.ts";

/** What differs between a reporter's process and one inside a test. */
export interface ReporterParts {
  readonly environment: Environment;
  readonly terms: Terms;
  readonly client: KubeClient;
  readonly random: () => number;
  readonly metrics: ReporterMetrics;
  readonly log: Logger;
  readonly isLeader: () => boolean;
}

/** A reporter on a real API server and a real metering API, as the environment names them. */
export function composeReporter(parts: ReporterParts): Reporter {
  const { environment, terms, client, log } = parts;
  const time = createServerTime(systemClock);
  const clockUrl = environment.SUPERCARGO_CLOCK_URL;
  return createReporter({
    ...parts,
    books: createKubeBooks({
      client,
      offerResourceId: terms.offerResourceId,
      onDate: (dateMs) => time.observe(dateMs),
      log,
    }),
    marketplace: createMarketplace({
      baseUrl: environment.SUPERCARGO_MARKETPLACE_URL,
      token: createTokenSource(environment.SUPERCARGO_CLIENT_ID),
      clock: systemClock,
      newId: randomUUID,
    }),
    time,
    clock: systemClock,
    readOffset: clockUrl === undefined ? undefined : () => readClockOffset(clockUrl, systemClock),
  });
}
