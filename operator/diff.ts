import { isRecord, type KubeObject } from "#runtime/kube/types.ts";
import { canonicalJson, sha256 } from "./canonical.ts";
import { APPLIED_HASH, type DesiredObject } from "./desired/names.ts";

/** What has to be done to one child. */
export type Action =
  | { readonly kind: "Apply"; readonly desired: DesiredObject; readonly live: KubeObject | undefined }
  | { readonly kind: "Delete"; readonly desired: Pick<DesiredObject, "ref">; readonly live: KubeObject };

export interface ObservedChild {
  readonly ref: DesiredObject["ref"];
  readonly object: KubeObject;
}

/** Kinds that are never pruned: they hold what cannot be made again. The garbage collector takes them with the agent. */
const KEPT = new Set(["PersistentVolumeClaim"]);

/** The ordered actions that lead from observed to desired; empty when nothing is to do. */
export function diffChildren(desired: readonly DesiredObject[], observed: readonly ObservedChild[]): Action[] {
  const live = new Map(observed.map((item) => [identityOf(item), item.object]));
  const applies = desired.map(withHash).flatMap((item): Action[] => {
    const current = live.get(identityOf(item));
    return current && isInPlace(item.object, current) ? [] : [{ kind: "Apply", desired: item, live: current }];
  });
  const wanted = new Set(desired.map(identityOf));
  const deletes = observed
    .filter((item) => !wanted.has(identityOf(item)) && !KEPT.has(item.ref.kind))
    .map((item): Action => ({ kind: "Delete", desired: { ref: item.ref }, live: item.object }));
  return [...applies, ...deletes];
}

/** The desired object with the hash of itself: a change of ours is seen even where the server rewrote the field. */
function withHash(desired: DesiredObject): DesiredObject {
  const { metadata } = desired.object;
  const hash = sha256(canonicalJson(desired.object));
  const annotations = { ...metadata.annotations, [APPLIED_HASH]: hash };
  return { ...desired, object: { ...desired.object, metadata: { ...metadata, annotations } } };
}

/**
 * Whether every field that we own stands in the live object as we want it. Others may add fields, but no list items, and
 * nothing where one more field changes whom a rule selects or what a container may do.
 */
export function isInPlace(desired: KubeObject, live: KubeObject): boolean {
  const { apiVersion: _, kind: _kind, ...fields } = desired;
  return holds(fields, live, "Subset");
}

type Match = "Subset" | "Exact";

/** Everything below these fields must be ours alone. */
const EXACT = new Set([
  "selector",
  "podSelector",
  "labelSelector",
  "nodeSelector",
  "ingress",
  "egress",
  "subjects",
  "securityContext",
]);

function holds(desired: unknown, live: unknown, match: Match): boolean {
  if (Array.isArray(desired)) return holdsList(desired, live, match);
  if (!isRecord(desired)) return desired === live;
  const fields = Object.entries(desired).filter(([, value]) => value !== undefined);
  if (!isRecord(live)) return live === undefined && fields.length === 0;
  if (match === "Exact" && Object.keys(live).length > fields.length) return false;
  return fields.every(([field, value]) => holds(value, live[field], EXACT.has(field) ? "Exact" : match));
}

/** The server drops empty lists. */
function holdsList(desired: readonly unknown[], live: unknown, match: Match): boolean {
  if (desired.length === 0 && live === undefined) return true;
  return (
    Array.isArray(live) &&
    live.length === desired.length &&
    desired.every((item, index) => holds(item, live[index], match))
  );
}

function identityOf(item: ObservedChild): string {
  return `${item.ref.group}/${item.ref.kind}/${item.object.metadata.name}`;
}
