import { Router } from "@koa/router";
import { z } from "zod";
import { addBooks } from "./control-books.ts";
import { addContentSafety } from "./control-content-safety.ts";
import { contentRulesSchema } from "./content-safety-rules.ts";
import { addClock } from "./control-clock.ts";
import { command, refuse, show } from "./control-kit.ts";
import { addResources } from "./control-resources.ts";
import { faultSchema } from "./faults.ts";
import { issueIdentityToken } from "./imds.ts";
import { METERING_AUDIENCE } from "./metering.ts";
import { landDelayed } from "./metering-call.ts";
import { scriptSchema } from "./model-memory.ts";
import { IDENTITIES_MAX, name, resourceSchema, type Seed } from "./seed.ts";
import { restoreState, STATE_BYTES_MAX, stateSchema, takeState } from "./state.ts";
import { switchesSchema } from "./switches.ts";
import { addIdentity, resetWorld, type World } from "./world.ts";

/** The control API: what tests and demos change, on its own port. `seed` is what a reset goes back to. */
export function createControlRouter(world: World, seed: Seed): Router {
  const router = new Router({ prefix: "/control" });
  router.use(async (context, next) => {
    landDelayed(world);
    await next();
    if (context.method === "GET") world.keeper.touch();
    else await world.keeper.saved();
  });
  addClock(router, world);
  addResources(router, world);
  addBooks(router, world);
  addFaults(router, world);
  addModel(router, world);
  addContentSafety(router, world);
  addTokens(router, world);
  addSwitches(router, world);
  addState(router, world, seed);
  router.get("/schema", show(describeInputs));
  router.get(
    "/requests",
    show(() => ({ requests: world.requests.list() })),
  );
  router.get(
    "/requests/metering",
    show(() => ({ requests: world.exchanges.list() })),
  );
  return router;
}

/** JSON Schemas of what people write, with the meaning of each switch and fault. */
function describeInputs(): Record<string, unknown> {
  const schemas = {
    switches: switchesSchema,
    fault: faultSchema,
    resource: resourceSchema,
    contentSafety: contentRulesSchema,
    state: stateSchema,
  };
  return Object.fromEntries(
    Object.entries(schemas).map(([key, schema]) => [key, z.toJSONSchema(schema, { io: "input" })]),
  );
}

function addSwitches(router: Router, world: World): void {
  router.get(
    "/switches",
    show(() => world.switches),
  );
  router.post(
    "/switches",
    command({
      // Not `partial()`: it fills in the default of every switch that is not named.
      schema: z.preprocess((given) => withPresent(world, given), switchesSchema),
      run(switches) {
        world.switches = switches;
        return world.switches;
      },
    }),
  );
}

/** The switches that are named, and the present value of the others. */
function withPresent(world: World, given: unknown): unknown {
  return typeof given === "object" && given !== null && !Array.isArray(given) ? { ...world.switches, ...given } : given;
}

/** The whole state, an earlier one again, or that of the start. */
function addState(router: Router, world: World, seed: Seed): void {
  router.get(
    "/state",
    show(() => takeState(world)),
  );
  router.put(
    "/state",
    command({
      schema: stateSchema,
      bodyBytesMax: STATE_BYTES_MAX,
      run(state) {
        restoreState(world, state);
        landDelayed(world);
        world.log.info({ resources: state.resources.length, events: state.events.length }, "Restored state");
        return { resources: state.resources.length, events: state.events.length };
      },
    }),
  );
  router.post(
    "/reset",
    command({
      schema: z.strictObject({}),
      run() {
        resetWorld(world, seed);
        return { offsetSeconds: world.time.offsetSeconds() };
      },
    }),
  );
}

function addFaults(router: Router, world: World): void {
  const list = (): unknown => ({ faults: world.faults.list(world.time.now()) });
  router.get("/faults", show(list));
  router.delete("/faults", (context) => {
    world.faults.load([]);
    context.body = list();
  });
  router.post(
    "/faults",
    command({
      schema: faultSchema,
      run(fault, context) {
        if (!world.faults.add(fault, world.time.now()))
          return refuse(context, ["(root): must wait for faults to be used up, too many are set"]);
        return list();
      },
    }),
  );
}

function addModel(router: Router, world: World): void {
  router.get(
    "/model/tally",
    show(() => sumTallies(world)),
  );
  router.get(
    "/model/scripts",
    show(() => ({ scripts: world.model.scripts() })),
  );
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
  router.get(
    "/identities",
    show(() => ({ identities: [...world.identities.values()] })),
  );
  router.post(
    "/identities",
    command({
      schema: z.strictObject({ clientId: name }),
      run(identity, context) {
        if (world.identities.size >= IDENTITIES_MAX)
          return refuse(context, [`(root): must not be one more than ${IDENTITIES_MAX} identities`]);
        addIdentity(world, identity.clientId);
        return { identities: [...world.identities.values()] };
      },
    }),
  );
  router.post(
    "/tokens",
    command({
      schema: z.strictObject({
        clientId: name,
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
