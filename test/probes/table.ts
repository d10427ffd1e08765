import { credentials, hardLimit, mixedStreams } from "./book-probes.ts";
import type { Facts, Probe } from "./probe.ts";
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

/** The probes that any gateway can be asked; real clients are the fifteenth, in clients.test.ts. */
export function probes(mixedRequests: number): readonly Probe[] {
  return [
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
    mixedStreams(mixedRequests),
    hardLimit,
    credentials,
    randomNames,
    upstreamHeaders,
  ];
}

/** Asks a gateway that begins afresh, with models of its own. */
export async function runProbe(probe: Probe, start: StartTarget): Promise<{ facts: Facts; isRight: boolean }> {
  const models = await startModels();
  const needed = await probe.needs?.(models);
  try {
    const target = await start({ models, ...needed?.options });
    try {
      const facts = await probe.observe(target, models);
      return { facts, isRight: probe.isRight(facts) };
    } finally {
      await target.stop();
    }
  } finally {
    await needed?.stop();
    await models.stop();
  }
}
