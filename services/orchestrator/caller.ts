import type { IncomingHttpHeaders } from "node:http";
import { decodeActingFor } from "#core/acting-for.ts";
import { Refusal } from "#core/errors.ts";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import type { Clock } from "#runtime/clock.ts";
import type { Live } from "./live.ts";

/** Who brought a request, and for whom; both verified. */
export interface Caller {
  /** The agent's gateway. */
  readonly subject: string;
  readonly principal: string;
}

/**
 * Only the agent's gateway may call: its projected token is verified against the cluster's keys, and only beside it is the
 * acting-for header believed. Throws Refusal invalid_token (401) or not_ready (503).
 */
export async function identifyCaller(headers: IncomingHttpHeaders, live: Live, clock: Clock): Promise<Caller> {
  if (!live.config()) throw new Refusal("not_ready", "Cannot verify callers before the pod has its config");
  const [, token] = /^Bearer ([^\s]+)$/i.exec(headers.authorization ?? "") ?? [];
  if (token === undefined)
    throw new Refusal(
      "invalid_token",
      "Cannot accept the call as it must carry the gateway's token: Authorization: Bearer TOKEN",
    );
  const result = await live.verify(token, clock.now());
  if (!result.ok) throw new Refusal("invalid_token", `Cannot accept the call as ${result.reason}`);
  const actingFor = headers[ACTING_FOR_HEADER];
  const principal = typeof actingFor === "string" ? decodeActingFor(actingFor) : undefined;
  if (principal === undefined)
    throw new Refusal(
      "invalid_token",
      `Cannot accept the call as ${ACTING_FOR_HEADER} must name the principal it is made for`,
    );
  return { subject: result.subject, principal };
}
