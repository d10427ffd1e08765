import { METRICS } from "#core/metric-names.ts";

/** Numbers about the sidecar for people; written by hand, as a metrics library would double this process's memory. */
export interface SidecarMetrics {
  /** refused: no answer; rejected: an answer that cannot be read or believed as a whole. */
  scraped(result: "ok" | "refused" | "rejected"): void;
  published(result: "ok" | "failed"): void;
  quarantined(count: number): void;
  exposition(): { readonly text: string; readonly contentType: string };
}

/** Counters of one process life. */
export function createSidecarMetrics(): SidecarMetrics {
  const scrapes = { ok: 0, refused: 0, rejected: 0 };
  const checkpoints = { ok: 0, failed: 0 };
  let quarantined = 0;
  return {
    scraped: (result) => void (scrapes[result] += 1),
    published: (result) => void (checkpoints[result] += 1),
    quarantined: (count) => void (quarantined = count),
    exposition: () => ({
      contentType: "text/plain; version=0.0.4; charset=utf-8",
      text: [
        ...counter(METRICS.sidecarScrapes, "Scrapes of the service by result.", scrapes),
        ...counter(METRICS.sidecarCheckpoints, "Writes of PodUsage by result.", checkpoints),
        `# HELP ${METRICS.sidecarQuarantined} Dimensions that are not billed as their counter fell.`,
        `# TYPE ${METRICS.sidecarQuarantined} gauge`,
        `${METRICS.sidecarQuarantined} ${quarantined}`,
        "",
      ].join("\n"),
    }),
  };
}

function counter(name: string, help: string, values: Readonly<Record<string, number>>): string[] {
  return [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} counter`,
    ...Object.entries(values).map(([result, value]) => `${name}{result="${result}"} ${value}`),
  ];
}
