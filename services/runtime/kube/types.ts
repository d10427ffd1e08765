/** A kind of object as the API server's paths name it. */
export interface ResourceRef {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** The part of metadata that our code reads or writes. */
interface KubeMeta {
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly generation?: number | undefined;
  readonly creationTimestamp?: string | undefined;
  readonly deletionTimestamp?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly [field: string]: unknown;
}

/** Raw JSON of one object. Callers parse what they need with zod; unknown fields pass through. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: KubeMeta;
  readonly [field: string]: unknown;
}

export interface ObjectKey {
  readonly namespace?: string | undefined;
  readonly name: string;
}

/** What can go wrong, named by what a caller does next. `status` is the HTTP status, 0 when there was no answer. */
export interface KubeError {
  readonly kind:
    | "Conflict"
    | "NotFound"
    | "AlreadyExists"
    | "Gone"
    | "Throttled"
    | "Forbidden"
    | "Unauthorized"
    | "Invalid"
    | "Unreachable"
    | "Unknown";
  readonly status: number;
  /** The API server's own sentence. */
  readonly message: string;
  readonly retryAfterMs?: number;
}

/** `dateMs` is the API server's Date header: the clock of money. It has whole seconds. */
export type KubeResult<T> =
  | { readonly ok: true; readonly value: T; readonly dateMs: number | undefined }
  | { readonly ok: false; readonly error: KubeError };

export interface CallOptions {
  /** @default 15000, for a list page 60000 */
  readonly timeoutMs?: number;
  /** Tries in all, first one included; only calls that are safe to repeat are repeated. @default 5 */
  readonly attemptsMax?: number;
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends CallOptions {
  /** Who owns the fields written. @default the user agent */
  readonly fieldManager?: string;
}

export interface ListQuery {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Objects per page. @default 500 */
  readonly limit?: number;
}

export interface KubeCollection<T> {
  readonly items: readonly T[];
  /** From where to watch on. */
  readonly resourceVersion: string;
}

export type KubeList = KubeCollection<KubeObject>;

export interface ApplyOptions extends CallOptions {
  readonly fieldManager: string;
  /** Takes fields from other managers. */
  readonly force: boolean;
}

export interface DeleteOptions extends CallOptions {
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly propagationPolicy?: "Background" | "Foreground" | "Orphan";
  readonly gracePeriodSeconds?: number;
}

export interface WatchQuery {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly resourceVersion: string;
  readonly timeoutSeconds: number;
}

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: KubeObject;
}

/** How one watch connection ended. Closed: by its timeout or a clean end, watch on. Gone: list again. */
export type WatchEnd =
  | { readonly kind: "Closed" }
  | { readonly kind: "Gone" }
  | { readonly kind: "Failed"; readonly error: KubeError };

export interface WatchHandlers {
  /** Called in order; must not throw. */
  readonly onEvent: (event: WatchEvent) => void;
  /** Called once the server has accepted the watch. */
  readonly onOpen?: () => void;
  readonly signal: AbortSignal;
}

/** The API server as raw JSON over kept-alive connections. No call throws for an answer or its absence. */
export interface KubeClient {
  get(ref: ResourceRef, key: ObjectKey, options?: CallOptions): Promise<KubeResult<KubeObject>>;
  /** All pages. */
  list(ref: ResourceRef, query?: ListQuery, options?: CallOptions): Promise<KubeResult<KubeList>>;
  /** All pages; each object is turned at once into what is kept of it, nothing to leave it out. For large fleets. */
  collect<T>(
    ref: ResourceRef,
    keep: (object: KubeObject) => T | undefined,
    options?: CallOptions & { readonly query?: ListQuery },
  ): Promise<KubeResult<KubeCollection<T>>>;
  /** Repeated only for objects with a fixed name: AlreadyExists may then mean that the first try arrived. */
  create(ref: ResourceRef, object: KubeObject, options?: WriteOptions): Promise<KubeResult<KubeObject>>;
  /** PUT; with metadata.resourceVersion a compare-and-swap. */
  update(ref: ResourceRef, object: KubeObject, options?: WriteOptions): Promise<KubeResult<KubeObject>>;
  updateStatus(ref: ResourceRef, object: KubeObject, options?: WriteOptions): Promise<KubeResult<KubeObject>>;
  /** Server-side apply; creates unless metadata.uid is set. */
  apply(ref: ResourceRef, object: KubeObject, options: ApplyOptions): Promise<KubeResult<KubeObject>>;
  applyStatus(ref: ResourceRef, object: KubeObject, options: ApplyOptions): Promise<KubeResult<KubeObject>>;
  /** JSON merge patch: for kinds without a schema of ours, such as Event. */
  patchMerge(ref: ResourceRef, object: KubeObject, options?: WriteOptions): Promise<KubeResult<KubeObject>>;
  delete(ref: ResourceRef, key: ObjectKey, options?: DeleteOptions): Promise<KubeResult<undefined>>;
  /** One watch connection until it ends; `watch.ts` makes it last. */
  watch(ref: ResourceRef, query: WatchQuery, handlers: WatchHandlers): Promise<WatchEnd>;
  /** GET of any path that answers JSON, such as /openid/v1/jwks. */
  read(path: string, options?: CallOptions): Promise<KubeResult<unknown>>;
  /** Closes kept-alive connections. */
  close(): void;
}

/** Whether a JSON value has the shape that every object of the API server has. */
export function isKubeObject(value: unknown): value is KubeObject {
  return isRecord(value) && isRecord(value["metadata"]) && typeof value["metadata"]["name"] === "string";
}

/** Whether a JSON value is an object with fields. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
