import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { type Catalogue, catalogueSchema } from "#core/plan.ts";

/** The plans that the chart packages: what the demo sells, and what the emulated Marketplace knows of it. */
export function readCatalogue(): Catalogue {
  return catalogueSchema.parse(parse(readFileSync("charts/supercargo/files/catalogue.yaml", "utf8")));
}
