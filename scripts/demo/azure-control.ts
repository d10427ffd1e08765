import { z } from "zod";
import { HOUR_MS, hourKey } from "#core/time.ts";
import { AZURE_PORTS } from "./azure.ts";
import type { Kubectl } from "./kubectl.ts";
import { DEMO } from "./names.ts";
import { forwardPort } from "./port-forward.ts";

const eventSchema = z.object({
  usageEventId: z.string(),
  resourceUri: z.string(),
  dimension: z.string(),
  quantity: z.number(),
  effectiveStartTime: z.string(),
  planId: z.string(),
});
/** A usage event that the emulated Marketplace booked. */
export type BookedEvent = z.infer<typeof eventSchema>;

export interface AzureControl {
  /** Moves the emulator's clock to the start of the next hour; it never goes back. Returns the hour that ended. */
  advanceToNextHour(): Promise<string>;
  /** Moves the emulator's clock forward to an instant unless it is past it: after a restart it begins anew. */
  catchUp(instantMs: number): Promise<void>;
  /** Moves the emulator's clock to an hour after an instant, unless it is past it. */
  passHourAfter(instantMs: number): Promise<void>;
  /** Every event booked, oldest first; of the demo's resource unless another is named. */
  events(resourceUri?: string): Promise<readonly BookedEvent[]>;
  /** Tokens that the model sent, as it counted them itself. */
  modelTally(): Promise<{ readonly inputTokens: number; readonly outputTokens: number; readonly requests: number }>;
  /** Any other call of the control API (docs/emulator.md): without a method a GET, or a POST where there is a body. */
  call(path: string, body?: unknown, method?: "DELETE"): Promise<unknown>;
  stop(): void;
}

/** The emulator's control API through a port-forward. */
export async function openAzureControl(kubectl: Kubectl): Promise<AzureControl> {
  const forward = await forwardPort(kubectl, {
    namespace: DEMO.azureNamespace,
    resource: "deployment/azure",
    port: AZURE_PORTS.control,
  });
  return createAzureControl(forward.url, forward.stop);
}

/** The emulator's control API at an address that this process reaches. */
export function createAzureControl(url: string, stop: () => void = () => undefined): AzureControl {
  const call = async (path: string, body?: unknown, method?: "DELETE"): Promise<unknown> => {
    const response = await fetch(`${url}${path}`, {
      signal: AbortSignal.timeout(10_000),
      ...(method === undefined ? {} : { method }),
      ...(body === undefined
        ? {}
        : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`The emulator's control API said ${response.status}: ${await response.text()}`);
    return response.json();
  };
  const catchUp = async (instantMs: number): Promise<void> => {
    const { now, offsetSeconds } = clockSchema.parse(await call("/control/clock"));
    const behindSeconds = Math.ceil((instantMs - Date.parse(now)) / 1000);
    if (behindSeconds > 0) await call("/control/clock", { offsetSeconds: offsetSeconds + behindSeconds });
  };
  return {
    async advanceToNextHour() {
      const { now } = clockSchema.parse(await call("/control/clock", { advanceToNextHour: true }));
      return hourKey(Date.parse(now) - HOUR_MS);
    },
    catchUp,
    passHourAfter: (instantMs) => catchUp(instantMs + HOUR_MS),
    events: async (resourceUri = DEMO.resourceId) => {
      const query = new URLSearchParams({ resourceUri });
      return eventsSchema.parse(await call(`/control/events?${query.toString()}`)).events;
    },
    modelTally: async () => sumTally(tallySchema.parse(await call("/control/model/tally"))),
    call,
    stop,
  };
}

const eventsSchema = z.object({ events: z.array(eventSchema) });
const clockSchema = z.object({ offsetSeconds: z.number(), now: z.string() });
const tokensSchema = z.object({ requests: z.number(), inputTokens: z.number(), outputTokens: z.number() });
const tallySchema = z.object({ deployments: z.array(z.object({ completed: tokensSchema })) });

/** Answers that were sent whole, over all deployments. */
function sumTally(tally: z.infer<typeof tallySchema>): z.infer<typeof tokensSchema> {
  const completed = tally.deployments.map((deployment) => deployment.completed);
  const sum = (pick: (tokens: z.infer<typeof tokensSchema>) => number): number =>
    completed.reduce((total, tokens) => total + pick(tokens), 0);
  return {
    requests: sum((tokens) => tokens.requests),
    inputTokens: sum((tokens) => tokens.inputTokens),
    outputTokens: sum((tokens) => tokens.outputTokens),
  };
}
