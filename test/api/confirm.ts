import { z } from "zod";
import { hourKey } from "../../services/core/time.ts";
import type { KubeObject } from "../../services/runtime/kube/types.ts";
import { at, waitFor } from "./harness.ts";

/**
 * Waits until a new ledger may post, and has closed the hour that ended meanwhile. Azure's list must be read twice, an
 * hour apart: `passHour` lets that hour pass on the emulator's clock.
 */
export async function confirmLedger(
  read: () => Promise<KubeObject | undefined>,
  passHour: () => Promise<unknown>,
): Promise<void> {
  const listedAt = await waitFor(
    "the first list",
    async () =>
      z
        .string()
        .optional()
        .parse(at(await read(), "spec.confirmation.listedAt")),
    40_000,
  );
  await passHour();
  await waitFor(
    "the second list",
    async () => {
      const ledger = await read();
      const hour = z.string().parse(at(ledger, "spec.lastClosedHour"));
      return (at(ledger, "spec.confirmation") === undefined && hour >= hourKey(Date.parse(listedAt))) || undefined;
    },
    40_000,
  );
}
