import { createHash } from "node:crypto";
import { z } from "zod";
import { findPlan } from "#core/plan.ts";
import { POD_PATHS, POD_PORTS } from "#core/pod-paths.ts";
import { readCatalogue } from "#runtime/catalogue.ts";
import { ConfigError, parseConfig } from "#runtime/config.ts";
import { PLAIN_OFFER } from "#runtime/offer.ts";
import type { Terms } from "./desk.ts";

const wholeNumber = (bounds: { min: number; max: number; initial: number }) =>
  z.coerce.number().int().min(bounds.min).max(bounds.max).default(bounds.initial);

const flag = (initial: "true" | "false") =>
  z
    .enum(["true", "false"])
    .default(initial)
    .transform((text) => text === "true");

/** What the chart leaves where Azure has injected nothing. */
const injected = z
  .string()
  .max(1024)
  .default("")
  .transform((text) => (text === "DONOTMODIFY" ? "" : text.trim()));

const httpUrl = z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, ""));

/** The environment of the reporter; the chart sets it. */
export const environmentSchema = z.object({
  SUPERCARGO_POD_NAME: z.string().min(1).max(253),
  SUPERCARGO_POD_NAMESPACE: z.string().min(1).max(63),
  SUPERCARGO_CATALOGUE_FILE: z.string().min(1).default(POD_PATHS.catalogue),
  /** The three values that Azure injects: all of them, or none (plain mode). */
  SUPERCARGO_CLIENT_ID: injected,
  SUPERCARGO_PLAN_ID: injected,
  SUPERCARGO_OFFER_RESOURCE_ID: injected,
  SUPERCARGO_MARKETPLACE_URL: httpUrl.default("https://marketplaceapi.microsoft.com/api"),
  /** The emulator's clock, for demos and tests. */
  SUPERCARGO_CLOCK_URL: z.union([z.literal("").transform(() => undefined), httpUrl]).optional(),
  SUPERCARGO_GRANT_LIFE_SECONDS: wholeNumber({ min: 60, max: 604_800, initial: 86_400 }),
  /** K of the sidecars: sets the grace of an hour. */
  SUPERCARGO_CHECKPOINT_SECONDS: wholeNumber({ min: 5, max: 3600, initial: 60 }),
  /** No new intent before Azure's list of usage events was compared. */
  SUPERCARGO_RECONCILE_REQUIRED: flag("true"),
  /** Usage that could not be posted within 24 h: carried to later hours, or written off (R10). */
  SUPERCARGO_LATE_USAGE: z.enum(["Carry", "Drop"]).default("Carry"),
  /** How long receipts are kept in the cluster. */
  SUPERCARGO_STATEMENT_RETENTION_DAYS: wholeNumber({ min: 7, max: 3650, initial: 45 }),
  /** Receipts go only after their month was exported and released. */
  SUPERCARGO_RETENTION_NEEDS_EXPORT: flag("true"),
  SUPERCARGO_ADMIN_PORT: wholeNumber({ min: 0, max: 65_535, initial: POD_PORTS.admin }),
  SUPERCARGO_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  /** Where the pod's token and CA lie. */
  SUPERCARGO_KUBERNETES_DIR: z.string().min(1).default(POD_PATHS.kubernetes),
  /** Must be empty: it would silently send the token request elsewhere than to IMDS. */
  AZURE_FEDERATED_TOKEN_FILE: z.string().optional(),
});
export type Environment = z.output<typeof environmentSchema>;

const EMULATED_SUBSCRIPTION = /^\/subscriptions\/00000000-0000-0000-0000-000000000000\//i;

/** The environment, checked as a whole. Throws ConfigError with every problem. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Environment {
  const environment = parseConfig(environmentSchema, env, { subject: "the environment" });
  const problems = [...mixtureProblems(environment), ...clockProblems(environment), ...identityProblems(environment)];
  if (problems.length > 0) throw new ConfigError("the environment", problems);
  return environment;
}

/** The terms of sale out of environment and catalogue file. Throws ConfigError with every problem. */
export function readTerms(environment: Environment, catalogueText: string): Terms {
  const catalogue = readCatalogue(catalogueText);
  const isPlain = environment.SUPERCARGO_OFFER_RESOURCE_ID === "";
  const planId = environment.SUPERCARGO_PLAN_ID;
  const plan = isPlain ? undefined : findPlan(catalogue, planId);
  const isMetered = plan?.billing === "Custom";
  return {
    mode: isPlain ? "Plain" : isMetered ? "Marketplace" : "Silent",
    offerResourceId: isPlain ? PLAIN_OFFER : environment.SUPERCARGO_OFFER_RESOURCE_ID,
    planId,
    plan,
    catalogue,
    catalogueDigest: createHash("sha256").update(catalogueText).digest("hex"),
    checkpointSeconds: environment.SUPERCARGO_CHECKPOINT_SECONDS,
    grantLifeSeconds: environment.SUPERCARGO_GRANT_LIFE_SECONDS,
    reconcileRequired: environment.SUPERCARGO_RECONCILE_REQUIRED,
    lateUsage: environment.SUPERCARGO_LATE_USAGE,
    retention: {
      days: environment.SUPERCARGO_STATEMENT_RETENTION_DAYS,
      needsExport: environment.SUPERCARGO_RETENTION_NEEDS_EXPORT,
    },
  };
}

function mixtureProblems(environment: Environment): string[] {
  const values = {
    SUPERCARGO_CLIENT_ID: environment.SUPERCARGO_CLIENT_ID,
    SUPERCARGO_PLAN_ID: environment.SUPERCARGO_PLAN_ID,
    SUPERCARGO_OFFER_RESOURCE_ID: environment.SUPERCARGO_OFFER_RESOURCE_ID,
  };
  const empty = Object.entries(values).filter(([, value]) => value === "");
  if (empty.length === 0 || empty.length === Object.keys(values).length) return [];
  return empty.map(
    ([name]) =>
      `${name}: must be set, as identity, plan and resource id are either all set (Marketplace) or all empty or DONOTMODIFY (plain): current value is empty`,
  );
}

function clockProblems(environment: Environment): string[] {
  const resourceId = environment.SUPERCARGO_OFFER_RESOURCE_ID;
  if (environment.SUPERCARGO_CLOCK_URL === undefined || EMULATED_SUBSCRIPTION.test(resourceId)) return [];
  return [
    `SUPERCARGO_CLOCK_URL: must be empty unless the resource id has the subscription 00000000-0000-0000-0000-000000000000, as a moved clock would bill hours that have not been: current resource id is ${resourceId === "" ? "empty" : resourceId}`,
  ];
}

function identityProblems(environment: Environment): string[] {
  const file = environment.AZURE_FEDERATED_TOKEN_FILE;
  if (!file) return [];
  return [
    `AZURE_FEDERATED_TOKEN_FILE: must not be set, as workload identity would replace the extension's identity that posts usage: current value is ${file}`,
  ];
}
