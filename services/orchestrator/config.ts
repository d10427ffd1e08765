import { z } from "zod";
import { telemetryEnvShape } from "#runtime/telemetry.ts";
import { POD_PATHS, POD_PORTS } from "#core/pod-paths.ts";

const wholeNumber = (bounds: { min: number; max: number; initial: number }) =>
  z.coerce.number().int().min(bounds.min).max(bounds.max).default(bounds.initial);

const path = (initial: string) => z.string().min(1).max(4096).default(initial);

/** The environment of the orchestrator; product settings carry the prefix SUPERCARGO_ (docs/decisions/0002). */
export const environmentSchema = z.object({
  ...telemetryEnvShape,
  SUPERCARGO_CONFIG_FILE: path(POD_PATHS.config),
  SUPERCARGO_CONTROL_FILE: path(POD_PATHS.control),
  SUPERCARGO_COUNTER_FILE: path(POD_PATHS.counters),
  SUPERCARGO_JOURNAL_FILE: path(POD_PATHS.journal),
  SUPERCARGO_SERVICE_TOKEN_FILE: path(POD_PATHS.serviceToken),
  /** Token, CA and namespace for the API server, where people are asked; without them nobody can be asked. */
  SUPERCARGO_KUBERNETES_DIR: path(POD_PATHS.kubernetes),
  SUPERCARGO_PORT: wholeNumber({ min: 0, max: 65_535, initial: POD_PORTS.orchestrator }),
  SUPERCARGO_ADMIN_PORT: wholeNumber({ min: 0, max: 65_535, initial: POD_PORTS.admin }),
  SUPERCARGO_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  /** Runs at the same time; one more is refused with 429. */
  SUPERCARGO_RUNS_MAX: wholeNumber({ min: 1, max: 1000, initial: 64 }),
  /** How long runs may go on after SIGTERM. */
  SUPERCARGO_DRAIN_SECONDS: wholeNumber({ min: 0, max: 600, initial: 25 }),
  /** Longest wait for one tool call. */
  SUPERCARGO_TOOL_TIMEOUT_SECONDS: wholeNumber({ min: 1, max: 600, initial: 60 }),
  /** How long stored responses can be read. */
  SUPERCARGO_RETENTION_DAYS: wholeNumber({ min: 1, max: 365, initial: 30 }),
});
export type Environment = z.output<typeof environmentSchema>;
