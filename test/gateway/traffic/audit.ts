/** What an audit line says of one call. */
export interface AuditedCall {
  /** Whether it was counted at all. */
  readonly isCounted: boolean;
  readonly isEstimated: boolean;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
}

/** By request id. Throws when a request has two lines: each decision is told once. */
export function readAudit(lines: readonly Readonly<Record<string, unknown>>[]): ReadonlyMap<string, AuditedCall> {
  const found = new Map<string, AuditedCall>();
  for (const line of lines) {
    const id = String(line["requestId"]);
    if (found.has(id)) throw new Error(`Cannot read the audit as ${id} must have one line: current count is 2`);
    const tokens = (name: string): number => (typeof line[name] === "number" ? line[name] : 0);
    found.set(id, {
      isCounted: typeof line["outputTokens"] === "number",
      isEstimated: line["estimated"] === true,
      inputTokens: tokens("inputTokens"),
      outputTokens: tokens("outputTokens"),
      cachedTokens: tokens("cachedInputTokens"),
    });
  }
  return found;
}
