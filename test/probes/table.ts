import { credentials, hardLimit } from "./book-probes.ts";
import type { Facts, Probe, Verdict } from "./probe.ts";
import {
  badRequests,
  bigBodies,
  filterDownRefused,
  filterDownSeen,
  randomNames,
  upstreamHeaders,
} from "./request-probes.ts";
import {
  busyTwice,
  clientLeavesBeforeHeaders,
  clientLeavesInStream,
  drains,
  upstreamDies,
  usageNotAsked,
} from "./stream-probes.ts";
import { type StartTarget, startModels } from "./target.ts";

/** The probes that any gateway can be asked in seconds. Mixed streams and real clients have tests of their own. */
export const PROBES: readonly Probe[] = [
  clientLeavesInStream,
  clientLeavesBeforeHeaders,
  busyTwice,
  upstreamDies,
  bigBodies,
  badRequests,
  filterDownSeen,
  filterDownRefused,
  drains,
  usageNotAsked,
  hardLimit,
  credentials,
  randomNames,
  upstreamHeaders,
];

/** Asks a gateway that begins afresh, with models of its own. */
export async function runProbe(probe: Probe, start: StartTarget): Promise<{ facts: Facts; verdict: Verdict }> {
  const models = await startModels();
  const needed = await probe.needs?.(models);
  try {
    const target = await start({ models, ...needed?.options });
    try {
      const facts = await probe.observe(target, models);
      const otherwise = "absent" in facts ? "absent" : "wrong";
      return { facts, verdict: probe.isRight(facts) ? "right" : otherwise };
    } finally {
      await target.stop();
    }
  } finally {
    await needed?.stop();
    await models.stop();
  }
}
