import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";
import { CHART, chartFlags, helm, type HelmMajor, parseManifests, RELEASE } from "./helm.ts";

/** The chart's own templates and schema, and nothing else of it. */
const SHIPPED = ["templates/_catalogue.tpl", "templates/_catalogue-rules.tpl", "files/catalogue.schema.json"];

const PROBE = `{{- $schema := .Files.Get "files/catalogue.schema.json" | fromJson -}}
{{- $flaws := list -}}
{{- range (fromYaml .Values.cases).cases -}}
{{- $flaws = append $flaws (include "supercargo.catalogueFlaws" (dict "catalogue" . "schema" $schema)) -}}
{{- end -}}
apiVersion: v1
kind: ConfigMap
metadata: { name: flaws }
data: { flaws: {{ toJson $flaws | quote }} }
`;

/** What the chart's templates say of each catalogue, in one run of Helm: lines, none where it is right. */
export async function flawsOf(major: HelmMajor, catalogues: readonly unknown[]): Promise<string[][]> {
  return inFolder(async (folder) => {
    writeFileSync(join(folder, "Chart.yaml"), "{ apiVersion: v2, name: probe, version: 0.0.0 }");
    for (const file of SHIPPED) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      copyFileSync(join(CHART, file), join(folder, file));
    }
    writeFileSync(join(folder, "templates/flaws.yaml"), PROBE);
    const values = { cases: JSON.stringify({ cases: catalogues }) };
    const result = await helm(major, ["template", "probe", folder, "--values", "-"], { values });
    if (result.code !== 0) throw new Error(result.stderr);
    const [map] = parseManifests(result.stdout);
    const flaws = z.array(z.string()).parse(JSON.parse(dataSchema.parse(map).data.flaws));
    return flaws.map((text) => text.split("\n  - ").slice(1));
  });
}

const dataSchema = z.looseObject({ data: z.object({ flaws: z.string() }) });

/** Renders the chart as a publisher would ship it: with this text as files/catalogue.yaml. Returns Helm's refusal, if any. */
export async function refusalOfShipped(major: HelmMajor, text: string): Promise<string> {
  return inFolder(async (folder) => {
    cpSync(CHART, folder, { recursive: true });
    writeFileSync(join(folder, "files/catalogue.yaml"), text);
    const flags = [...chartFlags({ profile: "marketplace" }), "--kube-version", "1.36.3"];
    const result = await helm(major, ["template", RELEASE, folder, ...flags]);
    return result.code === 0 ? "" : result.stderr;
  });
}

async function inFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "chart-"));
  try {
    return await run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
