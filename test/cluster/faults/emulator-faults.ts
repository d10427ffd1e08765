import type { FaultWorld } from "./fault-world.ts";

/** A batch of usage events on the wire. */
export const BATCH = { door: "Marketplace", method: "POST", path: /\/batchUsageEvent/ } as const;

/** Sets a fault of docs/emulator.md. */
export async function addFault(world: FaultWorld, fault: Readonly<Record<string, unknown>>): Promise<void> {
  await world.azure.call("/control/faults", fault);
}

/** The Marketplace is well again. */
export async function clearFaults(world: FaultWorld): Promise<void> {
  await world.azure.call("/control/faults", undefined, "DELETE");
}
