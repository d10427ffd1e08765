import type { ApprovalQuestion, ApprovalView } from "#core/approvals.ts";

/** What a person is asked, and what helps to decide. */
export interface NewApproval {
  readonly name: string;
  readonly question: ApprovalQuestion;
  /** Of the question. */
  readonly digest: string;
  /** The rule that asked, and why in words. */
  readonly rule: string;
  readonly reason: string;
  readonly reasonRequired: "Always" | "OnDeny" | "Never";
  readonly actingFor: string;
  readonly expiresAtMs: number;
}

/** An answer of the place where people decide, or why there is none. */
export type Looked<T> = { readonly ok: true; readonly view: T } | { readonly ok: false; readonly problem: string };

/** Where people are asked. Nothing throws; each call ends within seconds. */
export interface Approvals {
  /** Asks; what was asked before under this name is found again, never asked twice. */
  ask(approval: NewApproval): Promise<Looked<ApprovalView>>;
  /** Nothing when somebody has deleted it. */
  read(name: string): Promise<Looked<ApprovalView | undefined>>;
}
