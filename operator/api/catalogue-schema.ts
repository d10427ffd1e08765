import { z } from "zod";
import { catalogueSchema } from "#core/plan.ts";

type Node = Record<string, unknown>;

/**
 * The shape of a catalogue as JSON Schema, for whoever edits catalogue.yaml and for the chart's own check: templates
 * cannot read values.schema.json. What its parts say against each other stands in `_catalogue.tpl`.
 */
export function renderCatalogueSchema(): string {
  return toText({ ...toShape(), title: "A catalogue of Supercargo: what is sold, and in which plans" });
}

/** values.schema.json with the catalogue's shape; the rest of it is written by hand. An empty catalogue is the shipped one. */
export function renderValuesSchema(page: string): string {
  const schema = nodeSchema.parse(JSON.parse(page));
  const { $schema: _, required: __, ...shape } = toShape();
  const description = "Generated. Empty: files/catalogue.yaml.";
  return toText({
    ...schema,
    properties: { ...nodeSchema.parse(schema["properties"]), catalogue: { description, ...shape } },
  });
}

const nodeSchema = z.record(z.string(), z.unknown());

/** Draft-07 and what people write, before defaults are filled in. */
function toShape(): Node {
  return z.toJSONSchema(catalogueSchema, { target: "draft-07", io: "input" });
}

function toText(schema: Node): string {
  return `${JSON.stringify(schema, null, 2)}\n`;
}
