import { approvalSchema } from "#core/api/approval.ts";
import { API_VERSION } from "#core/api/meta.ts";
import { type ApprovalView, toDigestSubject } from "#core/approvals.ts";
import { APPROVALS } from "#runtime/kube/resources.ts";
import type { KubeClient, KubeError, KubeObject } from "#runtime/kube/types.ts";
import { digestOf } from "../canonical.ts";
import type { Approvals, Looked, NewApproval } from "./port.ts";

/** A client waits for the answer: an API server that is away must not hold it for long. */
const CALL = { timeoutMs: 5_000, attemptsMax: 2 } as const;
const ACTING_FOR_MAX = 512;

/** Approval objects in the agent's own namespace. Whoever may create and get them may do this; nothing here decides or deletes. */
export function createKubeApprovals(options: {
  readonly client: Pick<KubeClient, "create" | "get">;
  /** The agent's namespace; nothing before the first config. */
  readonly namespace: () => string | undefined;
}): Approvals {
  const { client } = options;
  const read = async (name: string): Promise<Looked<ApprovalView | undefined>> => {
    const namespace = options.namespace();
    const found = await client.get(APPROVALS, { namespace, name }, CALL);
    if (!found.ok) return found.error.kind === "NotFound" ? { ok: true, view: undefined } : failed(found.error);
    return toView(found.value);
  };
  return {
    read,
    async ask(approval) {
      const created = await client.create(APPROVALS, toObject(approval), {
        ...CALL,
        fieldManager: "supercargo-orchestrator",
      });
      if (created.ok) return toView(created.value);
      if (created.error.kind !== "AlreadyExists") return failed(created.error);
      const found = await read(approval.name);
      if (!found.ok) return found;
      if (found.view?.digest === approval.digest) return { ok: true, view: found.view };
      return { ok: false, problem: `Approval ${approval.name} is about something else` };
    },
  };
}

function failed(error: KubeError): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem: `${error.kind}: ${error.message}` };
}

/** No owner: what people decided must not go with a workload. The operator deletes it when its time is over. */
function toObject({ question, ...approval }: NewApproval): KubeObject {
  const { namespace, ...request } = question;
  return {
    apiVersion: API_VERSION,
    kind: "Approval",
    metadata: {
      name: approval.name,
      namespace,
      labels: {
        "app.kubernetes.io/managed-by": "supercargo",
        "app.kubernetes.io/part-of": "supercargo",
        "supercargo.dev/agent": request.agentDeployment,
      },
    },
    spec: {
      request: {
        ...request,
        digest: approval.digest,
        rule: approval.rule,
        reason: approval.reason,
        reasonRequired: approval.reasonRequired,
        actingFor: approval.actingFor.slice(0, ACTING_FOR_MAX),
        expiresAt: new Date(approval.expiresAtMs).toISOString(),
      },
    },
  };
}

/** The digest is made again from what the object says: a field that somebody else wrote proves nothing. */
function toView(object: KubeObject): Looked<ApprovalView> {
  const parsed = approvalSchema.safeParse(object);
  if (!parsed.success)
    return { ok: false, problem: `Cannot read Approval ${object.metadata.name}: ${parsed.error.issues[0]?.message}` };
  const { metadata, spec } = parsed.data;
  const digest = digestOf(toDigestSubject({ ...spec.request, namespace: metadata.namespace ?? "" }));
  return {
    ok: true,
    view: {
      uid: metadata.uid ?? "",
      digest: digest === spec.request.digest ? digest : "",
      expiresAtMs: Date.parse(spec.request.expiresAt),
      decision: spec.decision,
    },
  };
}
