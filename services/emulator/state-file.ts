import { existsSync, readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import type { Clock } from "#runtime/clock.ts";
import { ConfigError, parseConfig } from "#runtime/config.ts";
import type { Logger } from "#runtime/log.ts";
import type { Keeper } from "./keeper.ts";
import { keyRingStateSchema } from "./keys.ts";
import { stateSchema } from "./state.ts";

/** Counts and tallies, which no answer promises, reach the file this much later. */
const BACKGROUND_MS = 1000;

/** The state as the control API shows it, and what it does not show: how the signing keys are made again. */
const fileSchema = z.strictObject({ state: stateSchema, keys: keyRingStateSchema });
type Kept = z.output<typeof fileSchema>;

/** What an emulator before this one left, or nothing when the file is not there. Throws ConfigError with every problem. */
export function readStateFile(file: string): Kept | undefined {
  if (!existsSync(file)) return undefined;
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new ConfigError(file, [error instanceof Error ? error.message : String(error)]);
  }
  return parseConfig(fileSchema, content, { subject: file, secrets: ["keys.seed"] });
}

export interface KeeperOptions {
  readonly file: string;
  readonly take: () => { readonly state: unknown; readonly keys: unknown };
  readonly clock: Clock;
  readonly log: Logger;
}

export function createKeeper(options: KeeperOptions): Keeper {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let isTouched = false;
  let isClosed = false;
  const write = async (): Promise<void> => {
    if (isClosed) return;
    isTouched = false;
    await writeAtomically(options.file, JSON.stringify(options.take()));
  };
  /** One write runs, one waits for it and serves all who ask meanwhile. */
  const saved = (): Promise<void> => {
    next ??= (running ?? Promise.resolve())
      .catch(() => undefined)
      .then(() => {
        running = next;
        next = undefined;
        return write();
      });
    return next;
  };
  return {
    saved,
    touch() {
      if (isTouched) return;
      isTouched = true;
      options.clock.after(BACKGROUND_MS, () => {
        saved().catch((err: unknown) => options.log.error({ err }, "Failed to save state"));
      });
    },
    async close() {
      await saved();
      isClosed = true;
    },
  };
}

/** Temp file, fsync, rename, fsync of the folder: at every moment the old state or the new one is there, whole. */
async function writeAtomically(file: string, text: string): Promise<void> {
  const temporary = `${file}.tmp`;
  const handle = await open(temporary, "w", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  const folder = await open(path.dirname(file), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
