import { randomUUID } from "node:crypto";
import type { Clock } from "#runtime/clock.ts";
import type { Logger } from "#runtime/log.ts";
import { defaultContentRules, type ContentRules } from "./content-safety-rules.ts";
import { createDelayedRequests, type DelayedRequests } from "./delayed.ts";
import { createEmulatedClock, type EmulatedClock } from "./emulated-clock.ts";
import { createExchanges, type Exchanges } from "./exchanges.ts";
import { createFaults, type Faults } from "./faults.ts";
import { createKeyRing, type KeyRing, type KeyRingOptions } from "./keys.ts";
import { createMeteringState, putResource, type MeteringState, type Resource } from "./metering-store.ts";
import { createModelMemory, type ModelMemory } from "./model-memory.ts";
import { createRequestRate, type RequestRate } from "./rate.ts";
import { createRequestCounts, type RequestCounts } from "./requests.ts";
import { toResource, type Seed } from "./seed.ts";
import { noKeeper, type Keeper } from "./keeper.ts";
import type { Switches } from "./switches.ts";

/** An identity that IMDS knows on this node. */
export interface Identity {
  readonly clientId: string;
  readonly objectId: string;
}

/** All state of one emulator. Stand-ins read it, the control API changes it. */
export interface World {
  readonly clock: Clock;
  readonly log: Logger;
  readonly newId: () => string;
  readonly keys: KeyRing;
  readonly faults: Faults;
  readonly delayed: DelayedRequests;
  /** The metering API's clock. Tokens live in real time, as their clients do. */
  readonly time: EmulatedClock;
  readonly requests: RequestCounts;
  readonly exchanges: Exchanges;
  readonly rate: RequestRate;
  /** How many booked events are kept; more are refused, as none is forgotten. */
  readonly eventsMax: number;
  /** Keeps what must outlive the process. */
  keeper: Keeper;
  readonly model: ModelMemory;
  /** By lower-cased client id. */
  readonly identities: Map<string, Identity>;
  metering: MeteringState;
  switches: Switches;
  /** What Content Safety finds in texts. */
  contentRules: ContentRules;
  /** The life of IMDS tokens. */
  tokenLifetimeSeconds: number;
}

export interface WorldOptions {
  readonly seed: Seed;
  readonly keys: KeyRingOptions;
  readonly offsetSeconds: number;
  readonly eventsMax: number;
  readonly clock: Clock;
  readonly log: Logger;
}

export const TENANT_ID = "00000000-0000-4000-8000-00000000aaaa";
const TOKEN_LIFETIME_SECONDS = 86_400;

export async function createWorld(options: WorldOptions): Promise<World> {
  const world: World = {
    clock: options.clock,
    log: options.log,
    newId: randomUUID,
    keys: await createKeyRing(options.keys),
    faults: createFaults(),
    delayed: createDelayedRequests(),
    time: createEmulatedClock(options.clock, options.offsetSeconds),
    requests: createRequestCounts(),
    exchanges: createExchanges(),
    rate: createRequestRate(),
    eventsMax: options.eventsMax,
    keeper: noKeeper,
    model: createModelMemory(),
    identities: new Map(),
    metering: createMeteringState(),
    switches: options.seed.switches,
    contentRules: defaultContentRules,
    tokenLifetimeSeconds: TOKEN_LIFETIME_SECONDS,
  };
  resetWorld(world, options.seed);
  return world;
}

/** Back to the seed: events, faults, delayed requests, switches, rules of Content Safety, identities, counts, tallies. The clock stays, it only goes forward. */
export function resetWorld(world: World, seed: Seed): void {
  world.metering = createMeteringState();
  world.switches = seed.switches;
  world.contentRules = defaultContentRules;
  world.tokenLifetimeSeconds = TOKEN_LIFETIME_SECONDS;
  world.faults.load([]);
  world.delayed.load([]);
  world.requests.load([]);
  world.exchanges.clear();
  world.model.load({ tallies: [], scripts: [] });
  world.identities.clear();
  for (const identity of seed.identities) addIdentity(world, identity.clientId);
  for (const resource of seed.resources) addResource(world, toResource(resource, world.newId()));
}

/** Registers a resource; its owner becomes an identity of the node. */
export function addResource(world: World, resource: Resource): void {
  putResource(world.metering, resource);
  addIdentity(world, resource.ownerClientId);
}

export function addIdentity(world: World, clientId: string): void {
  const key = clientId.toLowerCase();
  if (!world.identities.has(key)) world.identities.set(key, { clientId, objectId: world.newId() });
}
