import type { KubeObject, ObjectKey } from "./types.ts";

/** What a reader learns of a change: the object that is now, the one that was. */
export interface StoreChange {
  readonly key: string;
  readonly object: KubeObject | undefined;
  readonly previous: KubeObject | undefined;
}

/** Values under which an object is found again, by the name of the index. */
export type StoreIndexes = Readonly<Record<string, (object: KubeObject) => readonly string[]>>;

/** The objects of one kind as the API server showed them last. */
export interface Store {
  get(key: ObjectKey): KubeObject | undefined;
  list(): readonly KubeObject[];
  byIndex(index: string, value: string): readonly KubeObject[];
}

export interface WritableStore extends Store {
  /** Stores an object. One with the same name and another UID is a delete and an add. */
  set(object: KubeObject): readonly StoreChange[];
  remove(object: KubeObject): readonly StoreChange[];
  /** What a complete list says is no longer there. */
  removeMissing(names: ReadonlySet<string>): readonly StoreChange[];
}

/** `namespace/name`, or the name alone for a cluster-scoped object. */
export function storeKey(key: ObjectKey): string {
  return key.namespace === undefined ? key.name : `${key.namespace}/${key.name}`;
}

/** A store with its indexes kept at every change. */
export function createStore(indexes: StoreIndexes = {}): WritableStore {
  const objects = new Map<string, KubeObject>();
  const tables = new Map(Object.keys(indexes).map((name) => [name, new Map<string, Set<string>>()]));

  const index = (key: string, object: KubeObject, add: boolean): void => {
    for (const [name, valuesOf] of Object.entries(indexes))
      for (const value of valuesOf(object)) reindex(tables.get(name), { value, key, add });
  };
  const put = (key: string, object: KubeObject | undefined): StoreChange => {
    const previous = objects.get(key);
    if (previous) index(key, previous, false);
    if (object) {
      objects.set(key, object);
      index(key, object, true);
    } else objects.delete(key);
    return { key, object, previous };
  };

  return {
    get: (key) => objects.get(storeKey(key)),
    list: () => [...objects.values()],
    byIndex: (name, value) =>
      [...(tables.get(name)?.get(value) ?? [])].map((key) => objects.get(key)).filter((object) => object !== undefined),
    set(object) {
      const key = storeKey(object.metadata);
      const previous = objects.get(key);
      if (previous && previous.metadata.uid !== object.metadata.uid) return [put(key, undefined), put(key, object)];
      return [put(key, object)];
    },
    remove(object) {
      const key = storeKey(object.metadata);
      return objects.has(key) ? [put(key, undefined)] : [];
    },
    removeMissing: (names) => [...objects.keys()].filter((key) => !names.has(key)).map((key) => put(key, undefined)),
  };
}

function reindex(
  table: Map<string, Set<string>> | undefined,
  entry: { readonly value: string; readonly key: string; readonly add: boolean },
): void {
  if (!table) return;
  const keys = table.get(entry.value) ?? new Set<string>();
  if (entry.add) keys.add(entry.key);
  else keys.delete(entry.key);
  if (keys.size === 0) table.delete(entry.value);
  else table.set(entry.value, keys);
}
