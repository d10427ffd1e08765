import { styleText } from "node:util";

/** What the scripts print for a person: one line per step with its time. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** A heading between steps. */
export function heading(text: string): void {
  say(`\n${styleText("bold", text)}`);
}

export interface StepTime {
  readonly name: string;
  readonly seconds: number;
}

/** Times of all steps so far, in order. */
export const stepTimes: StepTime[] = [];

/** Runs one step, says what it is before and how long it took after. */
export async function step<T>(name: string, run: () => Promise<T>): Promise<T> {
  const started = performance.now();
  say(`${styleText("cyan", "▸")} ${name}`);
  const result = await run();
  const seconds = (performance.now() - started) / 1000;
  stepTimes.push({ name, seconds });
  say(`  ${styleText("green", "✓")} ${seconds.toFixed(1)} s`);
  return result;
}

/** Runs a script's main function; a failure is one clear message and exit code 1. */
export async function runMain(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    process.stderr.write(
      `\n${styleText("red", "Failed:")} ${error instanceof Error ? error.message : String(error)}\n`,
    );
    if (error instanceof Error && error.cause instanceof Error)
      process.stderr.write(`  because: ${error.cause.message}\n`);
    process.exitCode = 1;
  }
}
