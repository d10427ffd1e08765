import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "./folders.ts";
import { announced } from "./progress.ts";
import { unpackDebs } from "./unpack-debs.ts";

/** The absolute path of promtool, from Debian's prometheus. Fetched once. */
export async function ensurePromtool(): Promise<string> {
  const root = join(cacheFolder("tools"), "prometheus");
  const path = join(root, "usr/bin/promtool");
  if (!existsSync(path)) await announced("Fetching promtool, once", () => unpackDebs(["prometheus"], root));
  return path;
}
