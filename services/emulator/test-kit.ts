import { z } from "zod";
import { systemClock } from "#runtime/clock.ts";
import { startEmulator, type Emulator, type EmulatorOptions } from "./app.ts";
import { seedSchema } from "./seed.ts";

/** What the tests of this folder share: an emulator with one resource, and calls to it over HTTP. */

export const OWNER = "11111111-1111-4111-8111-111111111111";
export const STRANGER = "22222222-2222-4222-8222-222222222222";
export const RESOURCE_URI = extensionUri("app1");
export const HOUR_MS = 3_600_000;
/** Where the clock of a kit stands at first: half past an hour. */
export const NOW_MS = Date.parse("2026-11-22T08:30:00Z");

export const SEED = seedSchema.parse({
  identities: [{ clientId: STRANGER }],
  resources: [
    {
      resourceUri: RESOURCE_URI,
      ownerClientId: OWNER,
      plans: [
        { planId: "pro", dimensions: ["workflow_completed", "pod_hour"] },
        { planId: "free", dimensions: ["pod_hour"] },
      ],
    },
  ],
});

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

export interface Kit extends Emulator {
  /** The system time of the emulator; tests move it. */
  readonly time: { nowMs: number };
  control(path: string, body?: unknown, method?: string): Promise<Answer>;
  token(wanted?: { clientId?: string; audience?: string; lifetimeSeconds?: number }): Promise<string>;
  /** Posts to `/api/{path}` as the owner, or with the given bearer (`""`: none). */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer>;
  list(query: string, bearer?: string): Promise<Answer>;
  /** What is booked. */
  events(): Promise<
    readonly { quantity: number; dimension: string; planId: string; writer: string; bookedAt: string }[]
  >;
}

export async function startKit(options: Partial<EmulatorOptions> = {}): Promise<Kit> {
  const time = { nowMs: NOW_MS };
  const clock = { ...systemClock, now: () => time.nowMs };
  const emulator = await startEmulator({ seed: SEED, clock, ...options });
  const control: Kit["control"] = (path, body, method) =>
    request(`${emulator.controlUrl}/control/${path}`, {
      method: method ?? (body === undefined ? "GET" : "POST"),
      body,
    });
  const token: Kit["token"] = async (wanted) => {
    const answer = await control("tokens", { clientId: OWNER, ...wanted });
    return z.object({ accessToken: z.string() }).parse(answer.body).accessToken;
  };
  return {
    ...emulator,
    time,
    control,
    token,
    post: async (path, body, headers = {}) =>
      request(`${emulator.url}/api/${path}?api-version=2018-08-31`, {
        method: "POST",
        body,
        headers: { authorization: headers["authorization"] ?? `Bearer ${await token()}`, ...headers },
      }),
    list: async (query, bearer) =>
      request(`${emulator.url}/api/usageEvents?api-version=2018-08-31&${query}`, {
        headers: { authorization: `Bearer ${bearer ?? (await token())}` },
      }),
    events: async () => eventsSchema.parse((await control("events")).body).events,
  };
}

const eventsSchema = z.object({
  events: z.array(
    z.object({
      quantity: z.number(),
      dimension: z.string(),
      planId: z.string(),
      writer: z.string(),
      bookedAt: z.string(),
    }),
  ),
});

export function extensionUri(name: string): string {
  return (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerService/" +
    `managedClusters/c/providers/Microsoft.KubernetesConfiguration/extensions/${name}`
  );
}

/** A good event of `hoursAgo`, with what differs. */
export function usageEvent(changed: Record<string, unknown> = {}, hoursAgo = 1): Record<string, unknown> {
  return {
    resourceUri: RESOURCE_URI,
    quantity: 5,
    dimension: "workflow_completed",
    effectiveStartTime: hourStart(hoursAgo),
    planId: "pro",
    ...changed,
  };
}

/** The start of a past hour as the reporter sends it. */
export function hourStart(hoursAgo: number): string {
  const startMs = Math.floor(NOW_MS / HOUR_MS) * HOUR_MS - hoursAgo * HOUR_MS;
  return `${new Date(startMs).toISOString().slice(0, 19)}Z`;
}

export async function request(
  url: string,
  init: { method?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const { body } = init;
  const response = await fetch(url, {
    method: init.method ?? "GET",
    headers: { "content-type": "application/json", ...init.headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: parseOrText(text) };
}

function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
