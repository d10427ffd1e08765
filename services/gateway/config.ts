import { z } from "zod";
import { POD_PATHS, POD_PORTS } from "#core/pod-paths.ts";
import { telemetryEnvShape } from "#runtime/telemetry.ts";

const port = z.coerce.number().int().min(0).max(65_535);
const path = z.string().min(1);

/** The environment of the gateway. Every variable has the prefix SUPERCARGO_ and a default that fits the pod. */
export const gatewayEnvSchema = z.object({
  SUPERCARGO_CONFIG_FILE: path.default(POD_PATHS.config),
  SUPERCARGO_CONTROL_FILE: path.default(POD_PATHS.control),
  SUPERCARGO_COUNTER_FILE: path.default(POD_PATHS.counters),
  SUPERCARGO_SERVICE_TOKEN_FILE: path.default(POD_PATHS.serviceToken),
  SUPERCARGO_PORT: port.default(POD_PORTS.gateway),
  SUPERCARGO_ADMIN_PORT: port.default(POD_PORTS.admin),
  /** Largest request body; base64 images need more than the default of 4 MiB. */
  SUPERCARGO_BODY_LIMIT_BYTES: z.coerce.number().int().min(1024).max(67_108_864).default(4_194_304),
  /** From SIGTERM to the end of what is still in flight; the pod's grace period must be at least 10 s longer. */
  SUPERCARGO_DRAIN_SECONDS: z.coerce.number().int().min(0).max(600).default(20),
  ...telemetryEnvShape,
  SUPERCARGO_LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).default("info"),
});

export type GatewayEnv = z.output<typeof gatewayEnvSchema>;
