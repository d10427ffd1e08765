import { settleByCommand } from "#core/commands.ts";
import { parseHourKey } from "#core/time.ts";
import { type Flags, type Given, valueOf } from "./flags.ts";
import { DIMENSION_FLAG, PEOPLE_FLAGS } from "./people.ts";
import type { CommandDoor, CommandResult } from "./run.ts";

const CAS_TRIES_MAX = 10;

export const SETTLE_FLAGS: Flags = {
  hour: { allowed: "an hour in UTC as YYYYMMDDhh", accepts: isHour, required: true },
  dimension: DIMENSION_FLAG,
  as: {
    allowed: "billed or not-billed",
    accepts: (value) => value === "billed" || value === "not-billed",
    required: true,
  },
  ...PEOPLE_FLAGS,
  insist: {},
};

/** A person's word on a slot that nothing else settles; the leader finds it and credits it as it does an answer. */
export async function settleSlot(given: Given, door: CommandDoor): Promise<CommandResult> {
  for (let tries = 0; tries < CAS_TRIES_MAX; tries += 1) {
    const result = await trySettle(given, door);
    if (result !== "Conflict") return result;
  }
  return { ok: false, problem: `Cannot write the UsageStatement as another writer was first ${CAS_TRIES_MAX} times` };
}

async function trySettle(given: Given, door: CommandDoor): Promise<CommandResult | "Conflict"> {
  const slot = { hour: valueOf(given, "hour"), dimension: valueOf(given, "dimension") };
  const as = valueOf(given, "as");
  const ledger = await door.books.readLedger();
  const statement = await door.books.readStatement(slot);
  if (!ledger || !statement)
    return {
      ok: false,
      problem: `Cannot settle slot ${slot.hour} ${slot.dimension} as it must have a UsageStatement: there is none`,
    };
  const settled = settleByCommand(ledger.value, statement.value, {
    as: as === "billed" ? "Billed" : "NotBilled",
    by: valueOf(given, "by"),
    reason: valueOf(given, "reason"),
    nowMs: door.nowMs,
    insist: given["insist"] !== undefined,
  });
  if (!settled.ok) return settled;
  const written = await door.books.writeStatement({ value: settled.value, version: statement.version });
  if (written === "Conflict") return "Conflict";
  const { intent, outcome } = settled.value;
  await door.write(
    `Settled ${slot.hour} ${slot.dimension} as ${as}: ${outcome?.acceptedQuantity ?? "0"} of ${intent.quantity} ${intent.unit}\n`,
  );
  return { ok: true };
}

function isHour(value: string): boolean {
  try {
    return parseHourKey(value) > 0;
  } catch {
    return false;
  }
}
