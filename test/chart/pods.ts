import { z } from "zod";
import type { Manifest } from "./helm.ts";

const securityContextSchema = z.looseObject({
  allowPrivilegeEscalation: z.boolean().optional(),
  readOnlyRootFilesystem: z.boolean().optional(),
  runAsNonRoot: z.boolean().optional(),
  runAsUser: z.number().optional(),
  capabilities: z.looseObject({ drop: z.array(z.string()).optional(), add: z.array(z.string()).optional() }).optional(),
  seccompProfile: z.looseObject({ type: z.string() }).optional(),
});

const containerSchema = z.looseObject({
  name: z.string(),
  image: z.string(),
  args: z.array(z.string()).optional(),
  command: z.array(z.string()).optional(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })).default([]),
  securityContext: securityContextSchema.optional(),
  resources: z.looseObject({ requests: z.looseObject({}).optional(), limits: z.looseObject({}).optional() }).optional(),
  volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: z.string() })).default([]),
});
export type Container = z.output<typeof containerSchema>;

const podTemplateSchema = z.looseObject({
  metadata: z.looseObject({
    labels: z.record(z.string(), z.string()),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
  spec: z.looseObject({
    serviceAccountName: z.string().optional(),
    automountServiceAccountToken: z.boolean().optional(),
    securityContext: securityContextSchema.optional(),
    initContainers: z.array(containerSchema).default([]),
    containers: z.array(containerSchema),
    volumes: z.array(z.looseObject({ name: z.string() })).default([]),
  }),
});
export type PodTemplate = z.output<typeof podTemplateSchema>;

/** The pod template of a workload; nothing for any other kind. */
function podTemplateOf(manifest: Manifest): PodTemplate | undefined {
  const workload = z.looseObject({ spec: z.looseObject({ template: podTemplateSchema }) }).safeParse(manifest);
  return workload.success ? workload.data.spec.template : undefined;
}

/** Every pod template of a rendering, by the workload's name. */
export function podTemplates(manifests: readonly Manifest[]): ReadonlyMap<string, PodTemplate> {
  return new Map(
    manifests.flatMap((manifest) => {
      const template = podTemplateOf(manifest);
      return template === undefined ? [] : [[manifest.metadata.name, template] as const];
    }),
  );
}

/** Environment of the first container as an object; a value from a reference shows as `<ref>`. */
export function environmentOf(template: PodTemplate): Readonly<Record<string, string>> {
  return Object.fromEntries(
    (template.spec.containers[0]?.env ?? []).map((entry) => [entry.name, entry.value ?? "<ref>"]),
  );
}

/** Every container of a pod, init containers too. */
export function containersOf(template: PodTemplate): readonly Container[] {
  return [...template.spec.initContainers, ...template.spec.containers];
}
