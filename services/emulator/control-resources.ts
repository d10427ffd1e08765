import type { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { command, refuse, show } from "./control-kit.ts";
import { findResource, type Resource } from "./metering-store.ts";
import { fromResource, name, resourceSchema, RESOURCES_MAX, toResource } from "./seed.ts";
import { addResource, type World } from "./world.ts";

/** Plans bought before, kept for late events. */
const FORMER_PLANS_MAX = 100;

const named = z.strictObject({ resourceUri: z.string().min(1).max(1024) });

/** Extensions of customers: created, and what happens to them. */
export function addResources(router: Router, world: World): void {
  router.get(
    "/resources",
    show(() => ({ resources: [...world.metering.resources.values()].map(fromResource) })),
  );
  router.post(
    "/resources",
    command({
      schema: resourceSchema,
      run(input, context) {
        const known = findResource(world.metering, input.resourceUri);
        if (!known && world.metering.resources.size >= RESOURCES_MAX)
          return refuse(context, [`(root): must not be one more than ${RESOURCES_MAX} resources`]);
        const resource = toResource(input, known?.resourceId ?? world.newId());
        addResource(world, resource);
        return fromResource(resource);
      },
    }),
  );
  addStates(router, world);
  addPlanChange(router, world);
  addRecreation(router, world);
}

/** Verb → the state it leads to and those it may start from. */
const STATES = {
  activate: { to: "Active", from: ["PendingActivation"] },
  suspend: { to: "Suspended", from: ["Active"] },
  reinstate: { to: "Active", from: ["Suspended"] },
  delete: { to: "Deleted", from: ["PendingActivation", "Active", "Suspended"] },
} as const;

function addStates(router: Router, world: World): void {
  for (const [verb, { to, from }] of Object.entries(STATES))
    router.post(
      `/resources/${verb}`,
      command({
        schema: named,
        run: ({ resourceUri }, context) =>
          changeResource(world, context, {
            resourceUri,
            change(resource) {
              if (from.some((state) => state === resource.state)) return { ...resource, state: to };
              return `state: must be ${from.join(" or ")} for ${verb}: current value is ${JSON.stringify(resource.state)}`;
            },
          }),
      }),
    );
}

function addPlanChange(router: Router, world: World): void {
  router.post(
    "/resources/change-plan",
    command({
      schema: named.extend({ planId: name }),
      run: ({ resourceUri, planId }, context) =>
        changeResource(world, context, {
          resourceUri,
          change: (resource) => unknownPlan(resource, planId) ?? withPlan(resource, planId, world.time.now()),
        }),
    }),
  );
}

/** Deleted and created again under its name: another GUID, and where given another plan and identity. */
function addRecreation(router: Router, world: World): void {
  router.post(
    "/resources/recreate",
    command({
      schema: named.extend({ planId: name.optional(), ownerClientId: name.optional() }),
      run: ({ resourceUri, planId, ownerClientId }, context) =>
        changeResource(world, context, {
          resourceUri,
          change(resource) {
            const problem = planId === undefined ? undefined : unknownPlan(resource, planId);
            if (problem !== undefined) return problem;
            const { formerPlans: _gone, ...kept } = resource;
            return {
              ...kept,
              ...(planId === undefined ? {} : { planId }),
              ...(ownerClientId === undefined ? {} : { ownerClientId }),
              state: "Active",
              resourceId: world.newId(),
              recreatedMs: world.time.now(),
            };
          },
        }),
    }),
  );
}

/** Stores a changed resource, or refuses with the problem that the change names. */
function changeResource(
  world: World,
  context: Context,
  how: { readonly resourceUri: string; readonly change: (resource: Resource) => Resource | string },
): unknown {
  const resource = findResource(world.metering, how.resourceUri);
  if (!resource)
    return refuse(context, [
      `resourceUri: must be a registered resource: current value is ${JSON.stringify(how.resourceUri)}`,
    ]);
  const changed = how.change(resource);
  if (typeof changed === "string") return refuse(context, [changed]);
  addResource(world, changed);
  const { resourceUri, state, planId } = changed;
  world.log.info({ resourceUri, state, planId }, "Changed resource");
  return fromResource(changed);
}

function unknownPlan(resource: Resource, planId: string): string | undefined {
  const plans = resource.plans.map((plan) => plan.planId);
  if (plans.includes(planId)) return undefined;
  return `planId: must be one of ${plans.join(", ")}: current value is ${JSON.stringify(planId)}`;
}

function withPlan(resource: Resource, planId: string, nowMs: number): Resource {
  if (resource.planId === planId) return resource;
  const former = resource.planId === undefined ? [] : [{ planId: resource.planId, untilMs: nowMs }];
  const before = (resource.formerPlans ?? []).filter((plan) => plan.planId !== resource.planId);
  return { ...resource, planId, formerPlans: [...before, ...former].slice(-FORMER_PLANS_MAX) };
}
