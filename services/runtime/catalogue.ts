import { parse } from "yaml";
import { type Catalogue, catalogueSchema } from "#core/plan.ts";
import { ConfigError, parseConfig } from "./config.ts";

/** The publisher's catalogue out of its YAML text. Throws ConfigError with every problem. */
export function readCatalogue(text: string): Catalogue {
  return parseConfig(catalogueSchema, parseYaml(text), { subject: "the catalogue" });
}

function parseYaml(text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    // Below its first line the parser draws the place.
    const [reason = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new ConfigError("the catalogue", [`(root): must be one YAML document: ${reason.replace(/:$/, "")}`]);
  }
}
