import type { RequestListener } from "node:http";
import Koa, { type Context } from "koa";
import type { Router } from "@koa/router";
import { systemClock, type Clock } from "#runtime/clock.ts";
import { ConfigError } from "#runtime/config.ts";
import { withHealth } from "#runtime/health.ts";
import { createLogger, type Logger } from "#runtime/log.ts";
import { BodyTooLargeError, startServer, type RunningServer, type ServerOptions } from "#runtime/server.ts";
import { createContentSafetyRouter, type ContentSafetySettings } from "./content-safety.ts";
import { createControlRouter } from "./control.ts";
import { createImdsRouter } from "./imds.ts";
import { createIssuerRouter } from "./issuer.ts";
import type { KeyRingOptions } from "./keys.ts";
import { createMeteringRouter } from "./metering.ts";
import { createModelRouter, type ModelSettings } from "./model.ts";
import { emptySeed, type Seed } from "./seed.ts";
import { createKeeper, readStateFile } from "./state-file.ts";
import { EVENTS_DEFAULT, restoreState, takeState } from "./state.ts";
import { createWorld, type World } from "./world.ts";

export const STAND_INS = ["metering", "model", "contentSafety", "issuer", "control", "imds"] as const;

export type StandInName = (typeof STAND_INS)[number];

/** Where a listener binds; port 0 asks for a free one. */
interface Address {
  readonly port: number;
  readonly host: string;
}

/** The default is a whole emulator on free ports of the loopback address. */
export interface EmulatorOptions {
  readonly standIns: readonly StandInName[];
  /** Metering, model, Content Safety and issuer. */
  readonly main: Address;
  readonly control: Address;
  readonly imds: Address;
  /** What `main` serves, also over HTTPS: for agents whose metering URL cannot be changed. */
  readonly tls?: Address & { readonly cert: string; readonly key: string };
  /** The `iss` claim and the base of the issuer's links; the main URL if absent. */
  readonly publicUrl?: string;
  /** Resources, identities and switches at the start and after a reset. */
  readonly seed: Seed;
  readonly model: ModelSettings;
  readonly contentSafety: ContentSafetySettings;
  /** Processes with the same keys believe each other's tokens; random if empty. */
  readonly keys: KeyRingOptions;
  readonly offsetSeconds: number;
  /** Keeps the state over restarts. If it is there, it counts more than the seed. */
  readonly stateFile?: string;
  /** Booked events that are kept, at most EVENTS_MAX. */
  readonly eventsMax: number;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Emulator {
  /** Base of metering (`/api`), model (`/openai/v1`, `/v1`), Content Safety (`/contentsafety`) and issuer. */
  readonly url: string;
  readonly controlUrl: string;
  readonly imdsUrl: string;
  readonly tlsUrl: string;
  /** Stops all listeners; requests in flight get `deadlineMs`. */
  stop(deadlineMs?: number): Promise<void>;
}

const FREE_LOOPBACK: Address = { port: 0, host: "127.0.0.1" };

function withDefaults(given: Partial<EmulatorOptions>): EmulatorOptions {
  return {
    standIns: STAND_INS,
    main: FREE_LOOPBACK,
    control: FREE_LOOPBACK,
    imds: FREE_LOOPBACK,
    seed: emptySeed,
    model: { auth: "Key", apiKeys: [], deployments: [] },
    contentSafety: { keys: [] },
    keys: {},
    offsetSeconds: 0,
    eventsMax: EVENTS_DEFAULT,
    clock: systemClock,
    log: createLogger({ component: "emulator", level: "silent" }),
    ...given,
  };
}

/** Starts the stand-ins and resolves when all listen. The URL of a stand-in that is not started is empty. */
export async function startEmulator(given: Partial<EmulatorOptions> = {}): Promise<Emulator> {
  const options = withDefaults(given);
  const world = await openWorld(options);
  const servers: RunningServer[] = [];
  const open = async (
    routers: readonly Router[],
    where: Pick<ServerOptions, "host" | "port" | "tls">,
  ): Promise<string> => {
    if (routers.length === 0) return "";
    const server = await startServer({ ...where, handler: toHandler(world, routers), clock: options.clock });
    servers.push(server);
    return server.url;
  };
  let issuerUrl = options.publicUrl ?? "";
  const routers = createRouters(world, options, () => issuerUrl);
  const stop = async (deadlineMs = 0): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop(deadlineMs)));
    await world.keeper.close();
  };
  try {
    const url = await open(routers.main, options.main);
    issuerUrl ||= url;
    const controlUrl = await open(routers.control, options.control);
    const imdsUrl = await open(routers.imds, options.imds);
    const { tls } = options;
    const tlsUrl = tls ? await open(routers.main, { host: tls.host, port: tls.port, tls }) : "";
    return { url, controlUrl, imdsUrl, tlsUrl, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The world of before where a file has kept it, else that of the seed. Throws ConfigError for a file that cannot be used. */
async function openWorld(options: EmulatorOptions): Promise<World> {
  const { stateFile: file, clock, log } = options;
  const before = file === undefined ? undefined : readStateFile(file);
  const world = await createWorld({ ...options, keys: { ...options.keys, before: before?.keys } });
  if (before) restoreState(world, before.state);
  if (file === undefined) return world;
  world.keeper = createKeeper({
    file,
    clock,
    log,
    take: () => ({ state: takeState(world), keys: world.keys.state() }),
  });
  try {
    await world.keeper.saved();
  } catch (error) {
    throw new ConfigError("STATE_FILE", [error instanceof Error ? error.message : String(error)]);
  }
  return world;
}

/** The routers of each listener. */
function createRouters(
  world: World,
  options: EmulatorOptions,
  issuerUrl: () => string,
): { main: Router[]; control: Router[]; imds: Router[] } {
  const when = (name: StandInName, create: () => Router): Router[] =>
    options.standIns.includes(name) ? [create()] : [];
  return {
    main: [
      ...when("metering", () => createMeteringRouter(world)),
      ...when("model", () => createModelRouter(world, options.model)),
      ...when("contentSafety", () => createContentSafetyRouter(world, options.contentSafety)),
      ...when("issuer", () => createIssuerRouter(world, issuerUrl)),
    ],
    control: when("control", () => createControlRouter(world, options.seed)),
    imds: when("imds", () => createImdsRouter(world)),
  };
}

/** A Koa application of some routers, with health. Unknown paths get 404 with what exists. */
function toHandler(world: World, routers: readonly Router[]): RequestListener {
  const app = new Koa();
  app.silent = true;
  app.on("error", (err: unknown) => world.log.error({ err }, "Failed to answer"));
  app.use(async (context, next) => {
    try {
      await next();
    } catch (error) {
      if (!(error instanceof BodyTooLargeError)) throw error;
      context.status = 413;
      context.body = { error: { code: "RequestTooLarge", message: error.message } };
    }
  });
  for (const router of routers) app.use(router.routes());
  const layers = routers.flatMap((router) => router.stack).filter((layer) => layer.methods.length > 0);
  app.use((context) => answerUnknown(context, layers));
  const handle = app.callback();
  return withHealth({ ready: () => undefined }, (request, response) => void handle(request, response));
}

/** 405 with the methods that a path has, or 404 with the paths that exist. */
function answerUnknown(context: Context, layers: Router["stack"]): void {
  const { method, path } = context;
  const methods = [...new Set(layers.filter((layer) => layer.match(path)).flatMap((layer) => layer.methods))];
  if (methods.length > 0) {
    const allowed = methods.join(", ");
    context.status = 405;
    context.set("allow", allowed);
    const message = `Cannot ${method} ${path} as the method must be one of ${allowed}: current value is ${method}`;
    context.body = { error: { code: "MethodNotAllowed", message } };
    return;
  }
  const paths = [...new Set(layers.map((layer) => String(layer.path).replaceAll("\\", "")))];
  context.status = 404;
  context.body = { error: { code: "NotFound", message: `Cannot find ${path}`, paths } };
}
