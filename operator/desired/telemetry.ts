import type { AgentDeploymentSpec } from "#core/api/agent-deployment.ts";
import { POD_PATHS } from "#core/pod-paths.ts";

/** Where the service sends its traces (runtime/telemetry.ts reads it); nothing where no collector is named. */
export function telemetryEnv({ telemetry }: AgentDeploymentSpec): { readonly name: string; readonly value: string }[] {
  if (telemetry === undefined) return [];
  const { endpoint, headersSecretRef: ref, sampledPercent } = telemetry;
  return [
    { name: "SUPERCARGO_OTLP_ENDPOINT", value: endpoint },
    ...(ref ? [{ name: "SUPERCARGO_OTLP_HEADERS_FILE", value: `${POD_PATHS.secrets}/${ref.name}/${ref.key}` }] : []),
    { name: "SUPERCARGO_TRACE_RATIO", value: String(sampledPercent / 100) },
  ];
}
