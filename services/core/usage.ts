/** Base units that Supercargo counts by itself; an agent's spec may declare more. Money is counted in these alone. */
export const BASE_DIMENSIONS = [
  /** Prompt tokens as the model reported them, cached ones included. */
  "input_tokens",
  /** The part of input_tokens that came from the provider's cache. */
  "cached_input_tokens",
  /** Completion tokens as the model reported them, or estimated where an answer was cut off. */
  "output_tokens",
  /** Calls to a model that produced an answer or part of one. */
  "model_requests",
  /** Calls of people and programs to the agent. */
  "agent_requests",
  /** Agent runs that ended with status completed. */
  "workflow_completed",
  /** Tool calls that were started. */
  "tool_action",
  /** Life of the pod; counted by the sidecar. */
  "pod_milliseconds",
] as const;
export type BaseDimension = (typeof BASE_DIMENSIONS)[number];

/**
 * The base dimension of a plan's fees: one for each period that begins. The reporter alone counts it; no pod and no
 * agent's spec may.
 */
export const BILLING_PERIOD = "billing_period";

/** The family that money is read from, and the one that tells apart the lives of its counters. */
export const USAGE_METRIC = "supercargo_usage_total";
export const EPOCH_METRIC = "metering_epoch_info";

/** Usage by base dimension, cumulative. */
export type Totals = ReadonlyMap<string, bigint>;
