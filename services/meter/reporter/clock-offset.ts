import { z } from "zod";
import type { Clock } from "#runtime/clock.ts";

const TIMEOUT_MS = 5_000;
const answerSchema = z.object({ offsetSeconds: z.int().min(0).max(315_360_000) });

/** The emulator's forward-only clock offset in seconds. Throws when it cannot be read: nobody guesses the hour. */
export async function readClockOffset(url: string, clock: Clock): Promise<number> {
  const deadline = new AbortController();
  const cancel = clock.after(TIMEOUT_MS, () => deadline.abort(new Error(`No answer within ${TIMEOUT_MS} ms`)));
  try {
    const response = await fetch(url, { signal: deadline.signal, redirect: "error" });
    if (response.status !== 200) throw new Error(`HTTP status ${response.status}`);
    return answerSchema.parse(await response.json()).offsetSeconds;
  } catch (error) {
    throw new Error("Cannot read the clock of the emulator", { cause: error });
  } finally {
    cancel();
  }
}
