import { randomUUID } from "node:crypto";
import { toCrd } from "../../operator/api/crd.ts";
import { RESOURCES } from "../../operator/api/resources.ts";
import { systemClock } from "../../services/runtime/clock.ts";
import { kubeconfigOptions } from "../../services/runtime/kube/kubeconfig.ts";
import { CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES } from "../../services/runtime/kube/resources.ts";
import { createKubeClient } from "../../services/runtime/kube/transport.ts";
import { isKubeObject, type KubeClient, type KubeObject, type KubeResult } from "../../services/runtime/kube/types.ts";
import { startLightCluster } from "../cluster/local/light.ts";

export interface ApiHarness {
  readonly kubeconfig: string;
  readonly server: string;
  /** Administrator, with strict field validation. */
  readonly client: KubeClient;
  /** A namespace of its own for one test, under Pod Security `restricted`. */
  newNamespace(): Promise<string>;
  stop(): Promise<void>;
}

/** A real API server with our CRDs in it. No controllers: nothing is collected, no pod appears by itself. */
export async function startApi(options: { readonly crds: boolean } = { crds: true }): Promise<ApiHarness> {
  const cluster = await startLightCluster();
  const client = createKubeClient({
    ...(await kubeconfigOptions(cluster.kubeconfig)),
    clock: systemClock,
    fieldValidation: "Strict",
  });
  if (options.crds) await installCrds(client);
  return {
    kubeconfig: cluster.kubeconfig,
    server: cluster.server,
    client,
    async newNamespace() {
      const name = `test-${randomUUID().slice(0, 8)}`;
      const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
      must(await client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } }));
      return name;
    },
    async stop() {
      client.close();
      await cluster.stop();
    },
  };
}

/** Installs all five CRDs and waits until they are served. */
export async function installCrds(client: KubeClient): Promise<void> {
  for (const definition of RESOURCES) {
    const crd: unknown = toCrd(definition);
    if (!isKubeObject(crd)) throw new Error("A CRD must have metadata");
    must(await client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, { fieldManager: "test", force: true }));
  }
  for (const definition of RESOURCES)
    await waitFor(`${definition.plural} to be served`, async () => {
      const scope = definition.scope === "Namespaced";
      const list = await client.list({ ...definition, namespaced: scope }, {}, { attemptsMax: 1 });
      return list.ok ? true : undefined;
    });
}

/** The value, or a throw with what the API server said. */
export function must<T>(result: KubeResult<T>): T {
  if (result.ok) return result.value;
  throw new Error(`${result.error.kind}: ${result.error.message}`);
}

/** Asks every 50 ms until there is an answer; throws after `timeoutMs` with the newest error. */
export async function waitFor<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 15_000,
): Promise<T> {
  const startedMs = performance.now();
  let problem: unknown;
  while (performance.now() - startedMs < timeoutMs) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      problem = error;
    }
    await systemClock.sleep(50);
  }
  throw new Error(`Waited ${timeoutMs} ms for ${what}`, { cause: problem });
}

/** A field deep inside an object, or nothing. */
export function at(object: KubeObject | undefined, path: string): unknown {
  let value: unknown = object;
  for (const key of path.split(".")) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}
