import { type Store, storeKey } from "#runtime/kube/store.ts";
import type { KubeObject, ObjectKey } from "#runtime/kube/types.ts";
import { AGENT_LABEL } from "./desired/names.ts";

/** Index names of every cache. */
export const BY_OWNER = "owner";
export const BY_AGENT = "agent";

export const INDEXES = {
  [BY_OWNER]: (object: KubeObject): readonly string[] => ownerUids(object),
  [BY_AGENT]: (object: KubeObject): readonly string[] => {
    const key = agentKeyOf(object);
    return key === undefined ? [] : [key];
  },
} as const;

/** Objects of one kind: what the watch showed, and on top what we wrote and it has not shown yet. */
export interface Cache {
  get(key: ObjectKey): KubeObject | undefined;
  list(): readonly KubeObject[];
  byIndex(index: keyof typeof INDEXES, value: string): readonly KubeObject[];
  /** Remembers an answer of a write, so that no decision is made on what stood before it. */
  remember(object: KubeObject): void;
  /** The watch showed this key: what was remembered is dropped once it is not newer. */
  seen(key: string, object: KubeObject | undefined): void;
}

/** One cache over the stores of all watched namespaces. */
export function createCache(stores: readonly Store[]): Cache {
  const written = new Map<string, KubeObject>();
  const fresh = (object: KubeObject): KubeObject => written.get(storeKey(object.metadata)) ?? object;
  const merge = (seen: readonly KubeObject[], matches: (object: KubeObject) => boolean): readonly KubeObject[] => {
    if (written.size === 0) return seen;
    const keys = new Set(seen.map((object) => storeKey(object.metadata)));
    const added = [...written].filter(([key, object]) => !keys.has(key) && matches(object)).map(([, object]) => object);
    return [...seen.map(fresh), ...added];
  };
  return {
    get: (key) =>
      written.get(storeKey(key)) ?? stores.map((store) => store.get(key)).find((object) => object !== undefined),
    list: () =>
      merge(
        stores.flatMap((store) => store.list()),
        () => true,
      ),
    byIndex: (index, value) =>
      merge(
        stores.flatMap((store) => store.byIndex(index, value)),
        (object) => INDEXES[index](object).includes(value),
      ),
    remember(object) {
      const seen = stores.map((store) => store.get(object.metadata)).find((found) => found !== undefined);
      if (seen && !isNewer(object, seen)) return;
      written.set(storeKey(object.metadata), object);
    },
    seen(key, object) {
      const own = written.get(key);
      if (own && (object === undefined || !isNewer(own, object))) written.delete(key);
    },
  };
}

/** Versions of one kind compare as integers; unknown ones count as newer, the watch will correct it. */
function isNewer(object: KubeObject, than: KubeObject): boolean {
  const [a = "", b = ""] = [object.metadata.resourceVersion, than.metadata.resourceVersion];
  return !/^\d+$/.test(a) || !/^\d+$/.test(b) || BigInt(a) > BigInt(b);
}

/** `namespace/name` of the agent that an object belongs to, by its label. */
export function agentKeyOf(object: KubeObject | undefined): string | undefined {
  const name = object?.metadata.labels?.[AGENT_LABEL];
  return name === undefined || object?.metadata.namespace === undefined
    ? undefined
    : `${object.metadata.namespace}/${name}`;
}

function ownerUids(object: KubeObject): readonly string[] {
  const owners = object.metadata["ownerReferences"];
  if (!Array.isArray(owners)) return [];
  return owners.flatMap((owner) => (typeof owner?.uid === "string" ? [owner.uid] : []));
}
