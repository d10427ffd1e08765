import type { FuzzArea } from "./area.ts";
import { bodies } from "./bodies.ts";
import { headers } from "./headers.ts";
import { keys } from "./keys.ts";
import { paths } from "./paths.ts";
import { streams } from "./streams.ts";
import { tokens } from "./tokens.ts";

/** All of them. */
export const AREAS: readonly FuzzArea[] = [bodies, headers, keys, paths, streams, tokens];
