import { Router } from "@koa/router";
import type { Context, Middleware } from "koa";
import { z } from "zod";
import { describeIssue } from "#runtime/config.ts";
import { readJson } from "./endpoint.ts";
import { faultSchema } from "./faults.ts";
import { issueIdentityToken } from "./imds.ts";
import { METERING_AUDIENCE } from "./metering.ts";
import { findResource, listBooked, putResource, type Resource } from "./metering-store.ts";
import { scriptSchema } from "./model-memory.ts";
import { resourceSchema, toResource, type Seed } from "./seed.ts";
import { switchesSchema } from "./switches.ts";
import { addIdentity, addResource, meteringNow, resetWorld, type World } from "./world.ts";

const BODY_BYTES_MAX = 1024 * 1024;
const HOUR_MS = 3_600_000;
/** Ten years; beyond it nothing is tested any more. */
const OFFSET_SECONDS_MAX = 315_360_000;

/** One thing the control API does. */
interface Command<S extends z.ZodType> {
  readonly schema: S;
  readonly run: (input: z.output<S>, context: Context) => unknown;
}

/** The control API: what tests and demos change, on its own port. `seed` is what a reset goes back to. */
export function createControlRouter(world: World, seed: Seed): Router {
  const router = new Router({ prefix: "/control" });
  addClock(router, world);
  addResources(router, world);
  addFaults(router, world);
  addModel(router, world);
  addTokens(router, world);
  router.get("/events", (context) => answerEvents(world, context));
  router.get("/requests", (context) => answer(context, { requests: world.requests.list() }));
  router.get("/switches", (context) => answer(context, world.switches));
  router.post(
    "/switches",
    command({
      schema: switchesSchema.partial(),
      run(changed) {
        const given = Object.entries(changed).filter(([, value]) => value !== undefined);
        world.switches = switchesSchema.parse({ ...world.switches, ...Object.fromEntries(given) });
        return world.switches;
      },
    }),
  );
  router.post("/reset", (context) => {
    resetWorld(world, seed);
    answer(context, { offsetSeconds: world.offsetSeconds });
  });
  return router;
}

function addClock(router: Router, world: World): void {
  const show = (): unknown => ({
    offsetSeconds: world.offsetSeconds,
    now: new Date(meteringNow(world)).toISOString(),
  });
  const offset = z.int().max(OFFSET_SECONDS_MAX);
  const schema = z.union(
    [
      z.strictObject({ offsetSeconds: offset }),
      z.strictObject({ advanceSeconds: z.int().min(1).max(OFFSET_SECONDS_MAX) }),
      z.strictObject({ advanceToNextHour: z.literal(true) }),
    ],
    { error: "must be {offsetSeconds}, {advanceSeconds} (whole seconds > 0) or {advanceToNextHour: true}" },
  );
  router.get("/clock", (context) => answer(context, show()));
  router.post(
    "/clock",
    command({
      schema,
      run(change, context) {
        const wanted = wantedOffset(world, change);
        if (wanted < world.offsetSeconds || wanted > OFFSET_SECONDS_MAX)
          return refuse(context, [
            `offsetSeconds: must be from ${world.offsetSeconds} to ${OFFSET_SECONDS_MAX}, the clock only goes forward: current value is ${wanted}`,
          ]);
        world.offsetSeconds = wanted;
        world.log.info({ offsetSeconds: wanted }, "Advanced clock");
        return show();
      },
    }),
  );
}

type ClockChange = { offsetSeconds: number } | { advanceSeconds: number } | { advanceToNextHour: true };

function wantedOffset(world: World, change: ClockChange): number {
  if ("offsetSeconds" in change) return change.offsetSeconds;
  if ("advanceSeconds" in change) return world.offsetSeconds + change.advanceSeconds;
  const now = meteringNow(world);
  const nextHourMs = (Math.floor(now / HOUR_MS) + 1) * HOUR_MS;
  return world.offsetSeconds + Math.ceil((nextHourMs - now) / 1000);
}

function addResources(router: Router, world: World): void {
  const named = z.strictObject({ resourceUri: z.string().min(1).max(1024) });
  router.get("/resources", (context) => answer(context, { resources: [...world.metering.resources.values()] }));
  router.post(
    "/resources",
    command({
      schema: resourceSchema,
      run(input) {
        const known = findResource(world.metering, input.resourceUri);
        const resource = toResource(input, known?.resourceId ?? world.newId());
        addResource(world, resource);
        return resource;
      },
    }),
  );
  const changes: Readonly<Record<string, (resource: Resource) => Resource>> = {
    suspend: (resource) => ({ ...resource, state: "Suspended" }),
    activate: (resource) => ({ ...resource, state: "Active" }),
    delete: (resource) => ({ ...resource, state: "Deleted" }),
    recreate: (resource) => ({
      ...resource,
      state: "Active",
      resourceId: world.newId(),
      recreatedMs: meteringNow(world),
    }),
  };
  for (const [verb, change] of Object.entries(changes))
    router.post(
      `/resources/${verb}`,
      command({
        schema: named,
        run({ resourceUri }, context) {
          const resource = findResource(world.metering, resourceUri);
          if (!resource)
            return refuse(context, [
              `resourceUri: must be a registered resource: current value is ${JSON.stringify(resourceUri)}`,
            ]);
          const changed = change(resource);
          putResource(world.metering, changed);
          world.log.info({ resourceUri, state: changed.state }, "Changed resource");
          return changed;
        },
      }),
    );
}

function addFaults(router: Router, world: World): void {
  router.get("/faults", (context) => answer(context, { faults: world.faults.list() }));
  router.delete("/faults", (context) => {
    world.faults.clear();
    answer(context, { faults: [] });
  });
  router.post(
    "/faults",
    command({
      schema: faultSchema,
      run(fault, context) {
        if (!world.faults.add(fault))
          return refuse(context, ["(root): must wait for faults to be used up, too many are set"]);
        return { faults: world.faults.list() };
      },
    }),
  );
}

function addModel(router: Router, world: World): void {
  router.get("/model/tally", (context) => answer(context, sumTallies(world)));
  router.get("/model/scripts", (context) => answer(context, { scripts: world.model.scripts() }));
  router.post(
    "/model/scripts",
    command({
      schema: scriptSchema,
      run(script, context) {
        if (!world.model.addScript(script))
          return refuse(context, ["(root): must wait for scripts to be used up, too many are set"]);
        return { scripts: world.model.scripts() };
      },
    }),
  );
}

/** Tokens sent in all, cut answers included, and per deployment. */
function sumTallies(world: World): Record<string, unknown> {
  const deployments = world.model.tallies();
  const sum = (name: "requests" | "inputTokens" | "outputTokens"): number =>
    deployments.reduce((total, { completed, cut }) => total + completed[name] + cut[name], 0);
  return {
    requests: sum("requests"),
    inputTokens: sum("inputTokens"),
    outputTokens: sum("outputTokens"),
    deployments,
  };
}

function addTokens(router: Router, world: World): void {
  const clientId = z.string().min(1).max(256);
  router.get("/identities", (context) => answer(context, { identities: [...world.identities.values()] }));
  router.post(
    "/identities",
    command({
      schema: z.strictObject({ clientId }),
      run(identity) {
        addIdentity(world, identity.clientId);
        return { identities: [...world.identities.values()] };
      },
    }),
  );
  router.post(
    "/tokens",
    command({
      schema: z.strictObject({
        clientId,
        audience: z.string().min(1).max(256).default(METERING_AUDIENCE),
        lifetimeSeconds: z.int().min(-86_400).max(604_800).default(3600),
      }),
      async run(wanted) {
        const identity = { clientId: wanted.clientId, objectId: wanted.clientId };
        const issued = await issueIdentityToken(world, { ...wanted, identity });
        return { accessToken: issued.accessToken, expiresOn: issued.expiresAt };
      },
    }),
  );
  router.post(
    "/token-lifetime",
    command({
      schema: z.strictObject({ seconds: z.int().min(1).max(604_800) }),
      run({ seconds }) {
        world.tokenLifetimeSeconds = seconds;
        return { seconds };
      },
    }),
  );
  router.post(
    "/keys/rotate",
    command({
      schema: z.strictObject({ retireOld: z.boolean().default(false) }),
      async run(options) {
        await world.keys.rotate(options);
        return { kids: world.keys.jwks().keys.map((key) => key.kid) };
      },
    }),
  );
}

/** Booked events, oldest first, optionally of one `resourceUri` or `dimension`. */
function answerEvents(world: World, context: Context): void {
  const { resourceUri, dimension } = context.query;
  const events = listBooked(world.metering)
    .filter(
      (event) => resourceUri === undefined || event.resourceUri.toLowerCase() === String(resourceUri).toLowerCase(),
    )
    .filter((event) => dimension === undefined || event.dimension === dimension)
    .sort((a, b) => a.bookedMs - b.bookedMs)
    .map((event) => ({ ...event, bookedAt: new Date(event.bookedMs).toISOString() }));
  answer(context, { events, count: events.length });
}

function command<S extends z.ZodType>({ schema, run }: Command<S>): Middleware {
  return async (context) => {
    const body = await readJson(context, BODY_BYTES_MAX);
    if (!body.ok) return refuse(context, [`(root): ${body.message}`]);
    const parsed = schema.safeParse(body.value);
    if (!parsed.success)
      return refuse(
        context,
        parsed.error.issues.map((issue) => describeIssue(issue, body.value)),
      );
    const result = await run(parsed.data, context);
    if (result !== undefined) answer(context, result);
  };
}

function answer(context: Context, body: unknown): void {
  context.status = 200;
  context.body = body;
}

/** 400 with every problem as `field: what is allowed: current value is …`. */
function refuse(context: Context, problems: readonly string[]): undefined {
  context.status = 400;
  context.body = {
    error: { code: "InvalidRequest", message: `Cannot accept the request:\n${problems.join("\n")}`, problems },
  };
  return undefined;
}
