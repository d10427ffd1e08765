import { unparkDimension } from "#core/commands.ts";
import { type Flags, type Given, valueOf } from "./flags.ts";
import { DIMENSION_FLAG, PEOPLE_FLAGS } from "./people.ts";
import type { CommandDoor, CommandResult } from "./run.ts";
import { swapLedgerByCommand } from "./swap.ts";

export const UNPARK_FLAGS: Flags = { dimension: DIMENSION_FLAG, ...PEOPLE_FLAGS };

/** A parked dimension gets its chance now, without a change of plan or catalogue. */
export async function unpark(given: Given, door: CommandDoor): Promise<CommandResult> {
  const dimension = valueOf(given, "dimension");
  const order = { dimension, by: valueOf(given, "by"), reason: valueOf(given, "reason"), nowMs: door.nowMs };
  const result = await swapLedgerByCommand(door, (ledger) => unparkDimension(ledger, order));
  if (result.ok) await door.write(`Unparked ${dimension}: it is posted again from the next try on\n`);
  return result;
}
