import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { renderCatalogueSchema, renderValuesSchema } from "./catalogue-schema.ts";
import { renderCrdTemplate } from "./crd-template.ts";
import { renderConditionTable, renderFieldTable, replaceBetween } from "./field-table.ts";
import { RESOURCES } from "./resources.ts";

const CRD_FOLDER = "charts/supercargo/templates/crds";
const CATALOGUE_SCHEMA = "charts/supercargo/files/catalogue.schema.json";
const VALUES_SCHEMA = "charts/supercargo/values.schema.json";
const DOCS_PAGE = "docs/agentdeployment.md";

/** Every generated file with its text, by path from the root of the repository. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const resource of RESOURCES) files.set(`${CRD_FOLDER}/${resource.plural}.yaml`, renderCrdTemplate(resource));
  files.set(CATALOGUE_SCHEMA, renderCatalogueSchema());
  files.set(VALUES_SCHEMA, renderValuesSchema(readFileSync(VALUES_SCHEMA, "utf8")));
  if (existsSync(DOCS_PAGE)) files.set(DOCS_PAGE, renderDocs(readFileSync(DOCS_PAGE, "utf8")));
  return files;
}

/** Generated files whose text on disk is another. */
export function staleFiles(files: ReadonlyMap<string, string>): readonly string[] {
  return [...files]
    .filter(([path, text]) => !existsSync(path) || readFileSync(path, "utf8") !== text)
    .map(([path]) => path);
}

function renderDocs(page: string): string {
  const agent = RESOURCES.find((resource) => resource.kind === "AgentDeployment");
  if (!agent) throw new Error("Cannot render docs as AgentDeployment must be one of the resources");
  const parts = {
    spec: renderFieldTable(agent, "spec"),
    status: renderFieldTable(agent, "status"),
    conditions: renderConditionTable(),
  };
  return Object.entries(parts).reduce((text, [marker, table]) => replaceBetween(text, { marker, table }), page);
}

function main(): number {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  const files = generatedFiles();
  const stale = staleFiles(files);
  if (values.check) {
    for (const path of stale) process.stderr.write(`${path} is stale: run npm run generate\n`);
    return stale.length === 0 ? 0 : 1;
  }
  for (const path of stale) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, files.get(path) ?? "");
    process.stdout.write(`Wrote ${path}\n`);
  }
  return 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) process.exitCode = main();
