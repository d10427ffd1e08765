import type { Router } from "@koa/router";
import { z } from "zod";
import { command, refuse, show } from "./control-kit.ts";
import { OFFSET_SECONDS_MAX, SPEED_MAX } from "./emulated-clock.ts";
import { landDelayed } from "./metering-call.ts";
import type { World } from "./world.ts";

const HOUR_MS = 3_600_000;

const changeSchema = z.union(
  [
    z.strictObject({ offsetSeconds: z.int().max(OFFSET_SECONDS_MAX) }),
    z.strictObject({ advanceSeconds: z.int().min(1).max(OFFSET_SECONDS_MAX) }),
    z.strictObject({ advanceToNextHour: z.literal(true) }),
    z.strictObject({ speed: z.number().min(1).max(SPEED_MAX) }),
  ],
  {
    error: `must be {offsetSeconds}, {advanceSeconds} (whole seconds > 0), {advanceToNextHour: true} or {speed} (1 to ${SPEED_MAX})`,
  },
);

/** The clock: forward only, by steps or by itself. */
export function addClock(router: Router, world: World): void {
  const read = (): unknown => ({
    offsetSeconds: world.time.offsetSeconds(),
    now: new Date(world.time.now()).toISOString(),
    speed: world.time.speed(),
  });
  router.get("/clock", show(read));
  router.post(
    "/clock",
    command({
      schema: changeSchema,
      run(change, context) {
        if ("speed" in change) world.time.setSpeed(change.speed);
        else {
          const current = world.time.offsetSeconds();
          const wanted = wantedOffset(world, change);
          if (wanted < current || wanted > OFFSET_SECONDS_MAX)
            return refuse(context, [
              `offsetSeconds: must be from ${current} to ${OFFSET_SECONDS_MAX}, the clock only goes forward: current value is ${wanted}`,
            ]);
          world.time.advanceTo(wanted);
        }
        landDelayed(world);
        world.log.info({ offsetSeconds: world.time.offsetSeconds(), speed: world.time.speed() }, "Changed clock");
        return read();
      },
    }),
  );
}

type Step = Exclude<z.output<typeof changeSchema>, { speed: number }>;

function wantedOffset(world: World, change: Step): number {
  const current = world.time.offsetSeconds();
  if ("offsetSeconds" in change) return change.offsetSeconds;
  if ("advanceSeconds" in change) return current + change.advanceSeconds;
  const now = world.clock.now() + current * 1000;
  const nextHourMs = (Math.floor(now / HOUR_MS) + 1) * HOUR_MS;
  return current + Math.ceil((nextHourMs - now) / 1000);
}
