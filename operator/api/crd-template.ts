import { stringify } from "yaml";
import { type CrdDefinition, toCrd } from "./crd.ts";

/** The wall of kubectl's client-side apply is 262144 bytes, but a release of Helm holds all of the chart (docs/decisions/0019). */
export const CRD_BYTES_MAX = 100_000;

/** One CRD as a Helm template. Throws when it grows too large or would be read as a template itself. */
export function renderCrdTemplate(definition: CrdDefinition): string {
  const { metadata: _, ...crd } = toCrd(definition);
  // Helm reads YAML 1.1, where a bare Yes or No is a boolean.
  const body = stringify(
    { spec: crd["spec"] },
    { version: "1.1", lineWidth: 0, aliasDuplicateObjects: false, indentSeq: false },
  );
  if (body.includes("{{")) throw new Error(`Cannot render ${definition.kind} as its schema must not hold "{{"`);
  const text = `${header(definition)}${body}{{- end }}\n`;
  const bytes = Buffer.byteLength(text);
  if (bytes > CRD_BYTES_MAX)
    throw new Error(
      `Cannot render ${definition.kind} as a CRD must be at most ${CRD_BYTES_MAX} bytes: current size is ${bytes}`,
    );
  return text;
}

function header(definition: CrdDefinition): string {
  return `{{- /* Generated from services/core/api by npm run generate: do not edit. */ -}}
{{- if include "supercargo.bool" .Values.crds.install }}
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: ${definition.plural}.${definition.group}
  labels: {{- include "supercargo.labels" (dict "root" $ "component" "crds") | nindent 4 }}
  {{- if include "supercargo.bool" .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
`;
}
