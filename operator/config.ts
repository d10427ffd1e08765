import { z } from "zod";
import type { Entitlement } from "#core/api/pod-usage.ts";
import { entitledBy } from "#core/entitlement.ts";
import { limitedDimensions } from "#core/leases.ts";
import { findPlan } from "#core/plan.ts";
import { POD_PATHS, POD_PORTS } from "#core/pod-paths.ts";
import { readCatalogue } from "#runtime/catalogue.ts";

const wholeNumber = (bounds: { min: number; max: number; initial: number }) =>
  z.coerce.number().int().min(bounds.min).max(bounds.max).default(bounds.initial);

const namespaceList = z
  .string()
  .default("")
  .transform((text) =>
    text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== ""),
  );

/** JSON text of NetworkPolicy peers. */
const peerList = z
  .string()
  .default("[]")
  .transform((text, context) => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: "custom", message: "must be JSON" });
      return z.NEVER;
    }
  })
  .pipe(z.array(z.record(z.string(), z.unknown())).max(16));

/** The environment of the operator; the chart sets it. */
export const environmentSchema = z.object({
  /** The one product image, used for agent pods too. */
  SUPERCARGO_IMAGE: z.string().min(1).max(512),
  SUPERCARGO_IMAGE_PULL_POLICY: z.enum(["Always", "IfNotPresent", "Never"]).default("IfNotPresent"),
  SUPERCARGO_POD_NAME: z.string().min(1).max(253),
  SUPERCARGO_POD_NAMESPACE: z.string().min(1).max(63),
  /** Comma-separated; empty: every namespace. */
  SUPERCARGO_WATCH_NAMESPACES: namespaceList,
  SUPERCARGO_CATALOGUE_FILE: z.string().min(1).default(POD_PATHS.catalogue),
  /** Empty in plain mode. */
  SUPERCARGO_PLAN_ID: z.string().max(128).default(""),
  SUPERCARGO_OFFER_RESOURCE_ID: z.string().max(1024).default(""),
  /** Label value that Azure counts pods by; empty outside the Marketplace. */
  SUPERCARGO_EXTENSION_RELEASE: z.string().max(63).default(""),
  SUPERCARGO_SIDECAR_CLUSTER_ROLE: z.string().min(1).max(253).default("supercargo-sidecar"),
  SUPERCARGO_ORCHESTRATOR_CLUSTER_ROLE: z.string().min(1).max(253).default("supercargo-orchestrator"),
  /** K: how often a sidecar publishes. */
  SUPERCARGO_CHECKPOINT_SECONDS: wholeNumber({ min: 5, max: 3600, initial: 60 }),
  SUPERCARGO_CLUSTER_DOMAIN: z.string().min(1).max(253).default("cluster.local"),
  /** Life of the first grant of a pod. */
  SUPERCARGO_GRANT_LIFE_SECONDS: wholeNumber({ min: 60, max: 604_800, initial: 86_400 }),
  /** Who may scrape the admin ports of agent pods. */
  SUPERCARGO_METRICS_PEERS: peerList,
  SUPERCARGO_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  SUPERCARGO_ADMIN_PORT: wholeNumber({ min: 0, max: 65_535, initial: POD_PORTS.admin }),
  /** A file, for development; else the pod's own account. */
  KUBECONFIG: z.string().optional(),
});
export type Environment = z.output<typeof environmentSchema>;

/** What the desired objects depend on besides the agent itself. */
export interface Settings {
  readonly image: string;
  readonly imagePullPolicy: "Always" | "IfNotPresent" | "Never";
  readonly clusterDomain: string;
  readonly sidecarClusterRole: string;
  readonly orchestratorClusterRole: string;
  /** Nothing outside the Marketplace. */
  readonly extensionRelease: string | undefined;
  readonly checkpointSeconds: number;
  readonly grantLifeSeconds: number;
  readonly metricsPeers: readonly Readonly<Record<string, unknown>>[];
  /** `plain` where nothing is billed. */
  readonly offerResourceId: string;
  readonly planId: string;
  /** Base dimensions that the plan limits: a new pod may count none of them before the reporter gives it a lease. */
  readonly limitedDimensions: readonly string[];
  /** What the plan entitles a new pod to before the reporter has spoken. */
  readonly entitlement: Required<Pick<Entitlement, "state" | "features">>;
}

/** The settings out of a parsed environment and the catalogue's text. Throws ConfigError when the catalogue is wrong. */
export function settingsOf(environment: Environment, catalogueText: string): Settings {
  const catalogue = readCatalogue(catalogueText);
  const planId = environment.SUPERCARGO_PLAN_ID;
  const plan = findPlan(catalogue, planId);
  return {
    image: environment.SUPERCARGO_IMAGE,
    imagePullPolicy: environment.SUPERCARGO_IMAGE_PULL_POLICY,
    clusterDomain: environment.SUPERCARGO_CLUSTER_DOMAIN,
    sidecarClusterRole: environment.SUPERCARGO_SIDECAR_CLUSTER_ROLE,
    orchestratorClusterRole: environment.SUPERCARGO_ORCHESTRATOR_CLUSTER_ROLE,
    extensionRelease: environment.SUPERCARGO_EXTENSION_RELEASE || undefined,
    checkpointSeconds: environment.SUPERCARGO_CHECKPOINT_SECONDS,
    grantLifeSeconds: environment.SUPERCARGO_GRANT_LIFE_SECONDS,
    metricsPeers: environment.SUPERCARGO_METRICS_PEERS,
    offerResourceId: environment.SUPERCARGO_OFFER_RESOURCE_ID || "plain",
    planId,
    limitedDimensions: limitedDimensions(plan, catalogue),
    entitlement: entitledBy(plan, environment.SUPERCARGO_OFFER_RESOURCE_ID === ""),
  };
}
