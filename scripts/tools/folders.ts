import { mkdirSync } from "node:fs";
import { join } from "node:path";

/** The top folder of this clone. */
export const repositoryFolder = join(import.meta.dirname, "../..");

/** A folder below the ignored .cache folder of this clone, made when missing. */
export function cacheFolder(...names: readonly string[]): string {
  const folder = join(repositoryFolder, ".cache", ...names);
  mkdirSync(folder, { recursive: true });
  return folder;
}
