import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseAllDocuments, parse } from "yaml";
import { z } from "zod";
import { type CommandResult, tryCommand } from "../../scripts/run-command.ts";
import { repositoryFolder } from "../../scripts/tools/folders.ts";
import { ensureHelm } from "../../scripts/tools/helm-and-kubectl.ts";

export const MAJORS = [3, 4] as const;
export type HelmMajor = (typeof MAJORS)[number];

export const CHART = join(repositoryFolder, "charts/supercargo");
export const RELEASE = "supercargo";
export const NAMESPACE = "supercargo-system";

/** Every profile of charts/supercargo/ci, and the plain values. */
export const PROFILES: readonly string[] = [
  "default",
  ...readdirSync(join(CHART, "ci")).map((file) => basename(file, "-values.yaml")),
];

const manifestSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
});
export type Manifest = z.output<typeof manifestSchema>;

export interface RenderOptions {
  /** @default 4 */
  readonly major?: HelmMajor;
  /** A profile of ci/. @default "default" */
  readonly profile?: string;
  /** Values on top of the profile. */
  readonly values?: unknown;
  /** Further flags, for example --set-string. */
  readonly flags?: readonly string[];
}

const rendered = new Map<string, Promise<CommandResult>>();

/**
 * Runs `helm template`, once for the same options. Nobody's cluster decides the result, as the Kubernetes version is
 * passed.
 */
export function helmTemplate(options: RenderOptions = {}): Promise<CommandResult> {
  const key = JSON.stringify(options);
  const result = rendered.get(key) ?? runHelmTemplate(options);
  rendered.set(key, result);
  return result;
}

function runHelmTemplate(options: RenderOptions): Promise<CommandResult> {
  return helm(options.major ?? 4, ["template", RELEASE, CHART, "--kube-version", "1.36.3", ...chartFlags(options)], {
    values: options.values,
  });
}

/** The rendered objects. Throws with Helm's words if it refuses. */
export async function render(options: RenderOptions = {}): Promise<Manifest[]> {
  const result = await helmTemplate(options);
  if (result.code !== 0) throw new Error(result.stderr);
  return parseManifests(result.stdout);
}

/** The words with which Helm refuses; an empty string if it does not. */
export async function refusal(options: RenderOptions): Promise<string> {
  const result = await helmTemplate(options);
  return result.code === 0 ? "" : result.stderr;
}

/** Runs Helm of one major, values on stdin. */
export async function helm(
  major: HelmMajor,
  args: readonly string[],
  options: { readonly values?: unknown; readonly kubeconfig?: string } = {},
): Promise<CommandResult> {
  return tryCommand([await ensureHelm(major), ...args], {
    // Without a kubeconfig Helm must not find that of the person who runs the tests.
    env: { KUBECONFIG: options.kubeconfig ?? "/dev/null", HELM_CACHE_HOME: join(repositoryFolder, ".cache/helm") },
    input: JSON.stringify(options.values ?? {}),
    timeoutMs: 120_000,
  });
}

/** Flags for namespace, profile and values on stdin. */
export function chartFlags(options: RenderOptions): string[] {
  const profile = options.profile ?? "default";
  const file = profile === "default" ? [] : ["--values", join(CHART, "ci", `${profile}-values.yaml`)];
  return ["--namespace", NAMESPACE, ...file, "--values", "-", ...(options.flags ?? [])];
}

export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS())
    .filter((value) => value !== null)
    .map((value) => manifestSchema.parse(value));
}

/** The one object of that kind and name. */
export function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  const [first] = found;
  if (first === undefined || found.length > 1)
    throw new Error(`Cannot find one ${kind} ${name} as there are ${found.length}`);
  return first;
}

/** values.yaml as an object. */
export function defaultValues(): unknown {
  return parse(readFileSync(join(CHART, "values.yaml"), "utf8"));
}
