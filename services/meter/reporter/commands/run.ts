import type { KubeClient } from "#runtime/kube/types.ts";
import type { Books } from "../desk.ts";
import { EXPORT_FLAGS, exportMonth } from "./export.ts";
import { type Flags, type Given, parseFlags } from "./flags.ts";
import { SETTLE_FLAGS, settleSlot } from "./settle.ts";
import { UNPARK_FLAGS, unpark } from "./unpark.ts";

/** What a command works with. It runs beside the leader: every write is a compare-and-swap. */
export interface CommandDoor {
  readonly books: Books;
  readonly client: Pick<KubeClient, "read">;
  readonly offerResourceId: string;
  /** The clock of money: the API server's, with the demo's offset. */
  readonly nowMs: number;
  /** Takes a part of the result; resolves when there is room for more. */
  readonly write: (text: string) => Promise<void>;
}

/** Takes a remark for people: never part of the result. */
export type Remark = (text: string) => void;

export type CommandResult = { readonly ok: true } | { readonly ok: false; readonly problem: string };

interface Command {
  readonly flags: Flags;
  readonly run: (given: Given, door: CommandDoor, remark: Remark) => Promise<CommandResult>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  export: { flags: EXPORT_FLAGS, run: exportMonth },
  settle: { flags: SETTLE_FLAGS, run: settleSlot },
  unpark: { flags: UNPARK_FLAGS, run: unpark },
};

/** How a command ended, as its process says it. 2: it was not understood, and nothing was looked at. */
export const EXIT = { done: 0, refused: 1, misread: 2 } as const;

/**
 * Runs `reporter.js <command> --flags`. `open` is called only for a command that can be read: a typo needs no API server.
 * Problems go to `remark`, one a line. Throws what the API server refused.
 */
export async function runCommand(
  args: readonly string[],
  remark: Remark,
  open: () => Promise<CommandDoor>,
): Promise<number> {
  const [name = "", ...rest] = args;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) {
    remark(`Cannot run a command as it must be one of ${Object.keys(COMMANDS).join(", ")}: current value is ${name}`);
    return EXIT.misread;
  }
  const parsed = parseFlags(name, command.flags, rest);
  if (!parsed.ok) {
    for (const problem of parsed.problems) remark(`Cannot run ${name}: ${problem}`);
    return EXIT.misread;
  }
  const result = await command.run(parsed.given, await open(), remark);
  if (result.ok) return EXIT.done;
  remark(result.problem);
  return EXIT.refused;
}
