/** Every metric name, written and read here alone. Names of GenAI and controller metrics are the field's own. */
export const METRICS = {
  /** gateway */
  gatewayRequests: "supercargo_gateway_requests_total",
  gatewayInFlight: "supercargo_gateway_in_flight_requests",
  gatewayRefusals: "supercargo_gateway_refusals_total",
  gatewayUpstreamErrors: "supercargo_gateway_upstream_errors_total",
  gatewayStreamsCut: "supercargo_gateway_streams_cut_total",
  gatewayOverheadSeconds: "supercargo_gateway_overhead_seconds",
  genAiRequestDuration: "gen_ai_server_request_duration_seconds",
  genAiInputTokens: "gen_ai_client_inference_usage_input_tokens_total",
  genAiOutputTokens: "gen_ai_client_inference_usage_output_tokens_total",
  /** orchestrator */
  orchestratorRuns: "supercargo_orchestrator_runs_total",
  orchestratorRunsActive: "supercargo_orchestrator_active_runs",
  orchestratorToolCalls: "supercargo_orchestrator_tool_calls_total",
  orchestratorToolRefusals: "supercargo_orchestrator_tool_refusals_total",
  orchestratorUsageRefusals: "supercargo_orchestrator_usage_refusals_total",
  /** meter sidecar */
  sidecarScrapes: "supercargo_sidecar_scrapes_total",
  sidecarCheckpoints: "supercargo_sidecar_checkpoints_total",
  sidecarQuarantined: "supercargo_sidecar_quarantined_dimensions",
  /** meter reporter */
  reporterPosts: "supercargo_reporter_posts_total",
  reporterLastClosedHour: "supercargo_reporter_last_closed_hour_timestamp_seconds",
  reporterOldestOpenSlot: "supercargo_reporter_oldest_open_slot_timestamp_seconds",
  reporterParkedDimensions: "supercargo_reporter_parked_dimensions",
  reporterClockSkewSeconds: "supercargo_reporter_clock_skew_seconds",
  reporterAcceptedUnits: "supercargo_reporter_accepted_units_total",
  reporterMode: "supercargo_reporter_mode_info",
  catalogueInfo: "supercargo_catalogue_info",
  /** every elected process */
  leaderStatus: "leader_election_master_status",
  kubeRequests: "rest_client_requests_total",
  cacheMiss: "supercargo_cache_miss_total",
  /** operator kernel, names known from controller-runtime and client-go */
  reconcileTotal: "controller_runtime_reconcile_total",
  reconcileErrors: "controller_runtime_reconcile_errors_total",
  reconcileSeconds: "controller_runtime_reconcile_time_seconds",
  activeWorkers: "controller_runtime_active_workers",
  queueDepth: "workqueue_depth",
  queueAdds: "workqueue_adds_total",
  queueRetries: "workqueue_retries_total",
  queueSeconds: "workqueue_queue_duration_seconds",
} as const;
