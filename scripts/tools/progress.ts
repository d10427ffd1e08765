import { say } from "../console.ts";

/** Runs one step and prints one line with its time when it is over. */
export async function timed<T>(name: string, run: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await run();
  say(`  ${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return result;
}

/** Like timed, for a step that takes so long that a person wants to know before: a download, a build. */
export async function announced<T>(name: string, run: () => Promise<T>): Promise<T> {
  say(`  ${name} ...`);
  return timed(name, run);
}
