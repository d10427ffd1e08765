import type { Router } from "@koa/router";
import { z } from "zod";
import { contentRulesSchema } from "./content-safety-rules.ts";
import { command, show } from "./control-kit.ts";
import type { World } from "./world.ts";

/** What Content Safety finds in texts: shown, and changed where named. */
export function addContentSafety(router: Router, world: World): void {
  router.get(
    "/content-safety",
    show(() => world.contentRules),
  );
  router.post(
    "/content-safety",
    command({
      // Not `partial()`: it fills in the default of every list that is not named.
      schema: z.preprocess((given) => withPresent(world, given), contentRulesSchema),
      run(rules) {
        world.contentRules = rules;
        return world.contentRules;
      },
    }),
  );
}

function withPresent(world: World, given: unknown): unknown {
  return typeof given === "object" && given !== null && !Array.isArray(given)
    ? { ...world.contentRules, ...given }
    : given;
}
