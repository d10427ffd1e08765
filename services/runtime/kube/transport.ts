import { type Call, createRunner, type KubeClientOptions, type Runner } from "./call.ts";
import { openConnection } from "./connection.ts";
import { collectPages } from "./list.ts";
import { withQuery } from "./query.ts";
import { apiVersionOf, resourcePath } from "./resources.ts";
import {
  type ApplyOptions,
  type DeleteOptions,
  isKubeObject,
  type KubeClient,
  type KubeObject,
  type KubeResult,
  type ObjectKey,
  type ResourceRef,
  type WriteOptions,
} from "./types.ts";
import { watchOnce } from "./watch-stream.ts";

export type { KubeClientOptions } from "./call.ts";

/** A client of one API server. Errors are values; only programmer errors throw. */
export function createKubeClient(options: KubeClientOptions): KubeClient {
  const calls = openConnection(options);
  const watches = openConnection(options);
  const run = createRunner(options, calls);
  return {
    get: (ref, key, callOptions = {}) =>
      run({ method: "GET", path: resourcePath(ref, key), repeatable: true, options: callOptions }).then(asObject),
    list: (ref, query = {}, callOptions = {}) =>
      collectPages(run, { ref, query, options: callOptions, keep: (object) => object }),
    collect: (ref, keep, { query = {}, ...callOptions } = {}) =>
      collectPages(run, { ref, query, options: callOptions, keep }),
    ...writes(run, options.fieldValidation ?? "Warn"),
    delete: (ref, key, deleteOptions = {}) => remove(run, { ref, key, options: deleteOptions }),
    watch: (ref, query, handlers) => watchOnce({ connection: watches, options, ref, query, handlers }),
    read: (path, callOptions = {}) => run({ method: "GET", path, repeatable: true, options: callOptions }),
    close() {
      calls.close();
      watches.close();
    },
  };
}

type Writes = Pick<KubeClient, "create" | "update" | "updateStatus" | "apply" | "applyStatus" | "patchMerge">;

/** The verbs that send an object. */
function writes(run: Runner, fieldValidation: string): Writes {
  const send = (target: WriteTarget, call: Pick<Call, "method" | "repeatable"> & Partial<Call>) =>
    run({
      options: target.options ?? {},
      body: JSON.stringify({ ...target.object, apiVersion: apiVersionOf(target.ref), kind: target.ref.kind }),
      path: withQuery(`${resourcePath(target.ref, target.object.metadata)}${target.subresource}`, {
        fieldValidation,
        fieldManager: target.options?.fieldManager,
      }),
      ...call,
    }).then(asObject);
  const put = (target: WriteTarget) =>
    send(target, { method: "PUT", repeatable: target.object.metadata.resourceVersion !== undefined });
  const apply = (target: WriteTarget, options: ApplyOptions) =>
    send(target, {
      method: "PATCH",
      contentType: "application/apply-patch+yaml",
      repeatable: true,
      path: withQuery(`${resourcePath(target.ref, target.object.metadata)}${target.subresource}`, {
        fieldValidation,
        fieldManager: options.fieldManager,
        force: String(options.force),
      }),
    });
  return {
    create: (ref, object, options) =>
      send(
        { ref, object, subresource: "", options },
        {
          method: "POST",
          repeatable: object.metadata.name !== "",
          path: withQuery(resourcePath(ref, { namespace: object.metadata.namespace }), {
            fieldValidation,
            fieldManager: options?.fieldManager,
          }),
        },
      ),
    update: (ref, object, options) => put({ ref, object, subresource: "", options }),
    updateStatus: (ref, object, options) => put({ ref, object, subresource: "/status", options }),
    apply: (ref, object, options) => apply({ ref, object, subresource: "", options }, options),
    applyStatus: (ref, object, options) => apply({ ref, object, subresource: "/status", options }, options),
    patchMerge: (ref, object, options) =>
      send(
        { ref, object, subresource: "", options },
        { method: "PATCH", contentType: "application/merge-patch+json", repeatable: true },
      ),
  };
}

interface WriteTarget {
  readonly ref: ResourceRef;
  readonly object: KubeObject;
  readonly subresource: "" | "/status";
  readonly options: WriteOptions | undefined;
}

async function remove(
  run: Runner,
  request: {
    readonly ref: ResourceRef;
    readonly key: ObjectKey;
    readonly options: DeleteOptions;
  },
): Promise<KubeResult<undefined>> {
  const { preconditions, propagationPolicy, gracePeriodSeconds } = request.options;
  const result = await run({
    method: "DELETE",
    path: resourcePath(request.ref, request.key),
    body: JSON.stringify({
      apiVersion: "v1",
      kind: "DeleteOptions",
      propagationPolicy: propagationPolicy ?? "Background",
      ...(preconditions ? { preconditions } : {}),
      ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
    }),
    repeatable: preconditions?.uid !== undefined,
    options: request.options,
  });
  return result.ok ? { ok: true, value: undefined, dateMs: result.dateMs } : result;
}

function asObject(result: KubeResult<unknown>): KubeResult<KubeObject> {
  if (!result.ok) return result;
  return isKubeObject(result.value)
    ? { ok: true, value: result.value, dateMs: result.dateMs }
    : { ok: false, error: { kind: "Unknown", status: 200, message: "The answer is not an object" } };
}
