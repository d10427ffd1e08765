import { once } from "node:events";
import type { Writable } from "node:stream";
import { systemClock } from "#runtime/clock.ts";
import { KubeCallError } from "#runtime/kube/errors.ts";
import type { KubeClient } from "#runtime/kube/types.ts";
import { PLAIN_OFFER } from "#runtime/offer.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { readClockOffset } from "../clock-offset.ts";
import type { Environment } from "../config.ts";
import { createKubeBooks } from "../kube.ts";
import type { CommandDoor } from "./run.ts";

/** The door of one command: the same offer resource and the same clock as the reporter beside it. */
export async function openDoor(client: KubeClient, environment: Environment, out: Writable): Promise<CommandDoor> {
  const offerResourceId = environment.SUPERCARGO_OFFER_RESOURCE_ID || PLAIN_OFFER;
  const time = createServerTime(systemClock);
  const version = await client.read("/version");
  if (!version.ok) throw new KubeCallError("read the API server's clock", version.error);
  time.observe(version.dateMs);
  const url = environment.SUPERCARGO_CLOCK_URL;
  if (url !== undefined) time.setOffset(await readClockOffset(url, systemClock));
  return {
    books: createKubeBooks({ client, offerResourceId, onDate: () => undefined, log: { warn: () => undefined } }),
    client,
    offerResourceId,
    nowMs: time.now(),
    write: (text) => write(out, text),
  };
}

/** A slow reader holds the export back, so that it never piles up in memory. */
async function write(out: Writable, text: string): Promise<void> {
  if (!out.write(text)) await once(out, "drain");
}
