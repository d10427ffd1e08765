import { createHash } from "node:crypto";

/** What stands in PodUsage and UsageLedger where no offer resource exists. */
export const PLAIN_OFFER = "plain";

/** The name of a UsageLedger and the first part of its statements' names. ARM ids are compared without regard to case. */
export function offerHash(offerResourceId: string): string {
  return createHash("sha256").update(offerResourceId.toLowerCase()).digest("hex").slice(0, 16);
}
