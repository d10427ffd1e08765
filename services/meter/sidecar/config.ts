import { z } from "zod";
import { POD_PATHS, POD_PORTS } from "#core/pod-paths.ts";

const wholeNumber = (bounds: { min: number; max: number; initial: number }) =>
  z.coerce.number().int().min(bounds.min).max(bounds.max).default(bounds.initial);

/** The environment of the sidecar; the operator sets it. */
export const environmentSchema = z.object({
  SUPERCARGO_POD_NAME: z.string().min(1).max(253),
  SUPERCARGO_POD_NAMESPACE: z.string().min(1).max(63),
  SUPERCARGO_POD_UID: z.string().min(1).max(64),
  /** The service of the same pod. */
  SUPERCARGO_SCRAPE_URL: z.url().default(`http://127.0.0.1:${POD_PORTS.admin}/metrics`),
  /** S: between two scrapes. */
  SUPERCARGO_SCRAPE_SECONDS: wholeNumber({ min: 1, max: 60, initial: 5 }),
  SUPERCARGO_COUNTER_FILE: z.string().min(1).default(POD_PATHS.counters),
  SUPERCARGO_CONTROL_FILE: z.string().min(1).default(POD_PATHS.control),
  SUPERCARGO_LOG_DIR: z.string().min(1).default(POD_PATHS.sidecarLog),
  SUPERCARGO_ADMIN_PORT: wholeNumber({ min: 0, max: 65_535, initial: POD_PORTS.sidecarAdmin }),
  SUPERCARGO_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  /** Where the pod's token and CA lie. */
  SUPERCARGO_KUBERNETES_DIR: z.string().min(1).default(POD_PATHS.kubernetes),
});
