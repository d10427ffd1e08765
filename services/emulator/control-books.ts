import type { Router } from "@koa/router";
import { z } from "zod";
import { sumBill } from "./bill.ts";
import { query, show } from "./control-kit.ts";
import { listBooked } from "./metering-store.ts";
import { fromEvent } from "./state.ts";
import type { World } from "./world.ts";

const month = z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/, "must be a month as 2026-11");
const text = z.string().min(1).max(1024);

/** What is booked, by event and as the customer's bill; and the requests that are still on their way. */
export function addBooks(router: Router, world: World): void {
  const filter = z.strictObject({ resourceUri: text.optional(), dimension: text.optional() });
  router.get(
    "/events",
    query(filter, (wanted) => {
      const events = listBooked(world.metering)
        .filter((event) => isSame(event.resourceUri, wanted.resourceUri))
        .filter((event) => wanted.dimension === undefined || event.dimension === wanted.dimension)
        .sort((a, b) => a.bookedMs - b.bookedMs)
        .map(fromEvent);
      return { events, count: events.length };
    }),
  );
  router.get(
    "/bill",
    query(z.strictObject({ resourceUri: text.optional(), month: month.optional() }), (wanted) => ({
      lines: sumBill(listBooked(world.metering))
        .filter((line) => isSame(line.resourceUri, wanted.resourceUri))
        .filter((line) => wanted.month === undefined || line.month === wanted.month),
    })),
  );
  router.get(
    "/delayed",
    show(() => ({ waiting: world.delayed.waiting(), landed: world.delayed.landed() })),
  );
  router.delete("/delayed", (context) => {
    world.delayed.load([]);
    context.body = { waiting: [], landed: [] };
  });
}

function isSame(resourceUri: string, wanted: string | undefined): boolean {
  return wanted === undefined || resourceUri.toLowerCase() === wanted.toLowerCase();
}
