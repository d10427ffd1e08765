import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createKubectl, type Kubectl, waitFor } from "../../../scripts/demo/kubectl.ts";
import { forwardPort } from "../../../scripts/demo/port-forward.ts";
import { buildImages } from "../../../scripts/image.ts";
import { ensureKubectl } from "../../../scripts/tools/helm-and-kubectl.ts";
import { type Cluster, localCluster, openCluster } from "./cluster.ts";

const NAMESPACE = "cluster-check";
/** Answers 200 on 8080 and writes one line. */
const SERVER = `require("http").createServer((q, r) => r.end("hello")).listen(8080, () => console.log("listening"));
process.on("SIGTERM", () => process.exit(0));`;
const IDLE = `process.on("SIGTERM", () => process.exit(0)); setInterval(() => {}, 1000)`;

let cluster: Cluster;
let kubectl: Kubectl;
let image: string;

beforeAll(async () => {
  cluster = await openCluster();
  kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: cluster.kubeconfig });
  image = (await buildImages(cluster)).supercargo.reference;
  await kubectl.run(["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s"]);
  const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
  await kubectl.apply(JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE, labels } }));
  const account = async (): Promise<true | undefined> =>
    (await kubectl.attempt(["-n", NAMESPACE, "get", "serviceaccount", "default"])).code === 0 ? true : undefined;
  await waitFor(account, { what: "the namespace's default service account", timeoutSeconds: 20, everyMs: 100 });
  await applyPods();
});
afterAll(() => kubectl.run(["delete", "namespace", NAMESPACE, "--wait=false"]));

describe("the cluster", () => {
  it("runs a pod with a native sidecar under Pod Security restricted, and refuses one that is not", async () => {
    await kubectl.run(["-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/server", "pod/client", "--timeout=60s"]);
    const statuses = await kubectl.run([
      "-n",
      NAMESPACE,
      "get",
      "pod",
      "server",
      "-o",
      "jsonpath={.status.initContainerStatuses[0].ready}",
    ]);
    expect(statuses).toBe("true");
    const loose = { ...pod("loose", IDLE), spec: { containers: [{ name: "main", image }] } };
    await expect(kubectl.apply(JSON.stringify(loose))).rejects.toThrow(/violates PodSecurity "restricted:latest"/);
  });

  it("runs the product image as 65532 on a read-only root with a heap that fits its memory", async () => {
    expect(await inClient(`console.log(process.getuid(), process.getgid())`)).toBe("65532 65532");
    expect(await inClient(`console.log(require("fs").readdirSync("/app").join())`)).toBe(
      "gateway.js,operator.js,orchestrator.js,package.json,reporter.js,sidecar.js",
    );
    expect(await inClient(`try { require("fs").writeFileSync("/app/x", "") } catch (e) { console.log(e.code) }`)).toBe(
      "EROFS",
    );
    const heapMiB = Number(await inClient(`console.log(require("v8").getHeapStatistics().heap_size_limit / 2 ** 20)`));
    expect(heapMiB).toBeGreaterThan(70);
    expect(heapMiB).toBeLessThan(128);
  });

  it("resolves a service by name and reaches it; a call outside fails at once", async () => {
    expect(await fetchInClient("http://server:8080")).toBe("hello");
    expect(await fetchInClient(`http://server.${NAMESPACE}.svc.cluster.local:8080`)).toBe("hello");
    expect(await fetchInClient("http://192.0.2.1:80")).toBe("EHOSTUNREACH");
  });

  it("lets a name of Azure resolve as a service when asked to, and no longer when not", async ({ skip }) => {
    if (cluster.kind !== "local") skip("only the local cluster's DNS can be told");
    const lookUp = `require("dns").lookup("marketplaceapi.microsoft.com", (e, a) => console.log(e ? "unknown" : a))`;
    await localCluster.up({ aliases: { "marketplaceapi.microsoft.com": `server.${NAMESPACE}.svc.cluster.local` } });
    const address = await kubectl.run([
      "-n",
      NAMESPACE,
      "get",
      "service",
      "server",
      "-o",
      "jsonpath={.spec.clusterIP}",
    ]);
    await resolvesAs(lookUp, address);
    await localCluster.up();
    await resolvesAs(lookUp, "unknown");
  });

  it("enforces NetworkPolicy: a default deny cuts the client off, a named peer lets it in again", async () => {
    await kubectl.apply(policy("default-deny", { podSelector: {}, policyTypes: ["Ingress"] }));
    await waitFor(async () => ((await fetchInClient("http://server:8080")) === "hello" ? undefined : true), {
      what: "the client to be cut off",
      timeoutSeconds: 20,
    });
    expect(await fetchInClient("http://server:8080")).toMatch(/ECONNREFUSED|TimeoutError/);
    const from = [{ podSelector: { matchLabels: { app: "client" } } }];
    await kubectl.apply(
      policy("allow-client", { podSelector: { matchLabels: { app: "server" } }, ingress: [{ from }] }),
    );
    await waitFor(async () => ((await fetchInClient("http://server:8080")) === "hello" ? true : undefined), {
      what: "the client to be let in",
      timeoutSeconds: 20,
    });
  });

  it("serves logs, exec and port-forward", async () => {
    expect(await kubectl.run(["-n", NAMESPACE, "logs", "server", "-c", "main"])).toContain("listening");
    const forward = await forwardPort(kubectl, { namespace: NAMESPACE, resource: "pod/server", port: 8080 });
    try {
      expect(await (await fetch(forward.url)).text()).toBe("hello");
    } finally {
      forward.stop();
    }
  });

  it("projects a token for an audience, signed with a key that it publishes", async () => {
    const token = await inClient(`console.log(require("fs").readFileSync("/token/token", "utf8"))`);
    const [header = "", claims = ""] = token.split(".").map((part) => Buffer.from(part, "base64url").toString());
    expect(JSON.parse(claims)).toMatchObject({ aud: ["gateway"], sub: `system:serviceaccount:${NAMESPACE}:default` });
    const keys = await kubectl.run(["get", "--raw", "/openid/v1/jwks"]);
    expect(JSON.parse(keys)).toMatchObject({ keys: [{ kid: JSON.parse(header).kid }] });
  });

  it("gives a claim a volume that fsGroup may write, and takes it back empty", async ({ skip }) => {
    if (cluster.kind !== "local") skip("only the local cluster's volumes lie on this machine");
    expect(await inClient(`require("fs").writeFileSync("/data/kept", "x"); console.log("written")`)).toBe("written");
    const volume = await kubectl.run(["-n", NAMESPACE, "get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}"]);
    const path = await kubectl.run(["get", "pv", volume, "-o", "jsonpath={.spec.local.path}"]);
    expect(readFileSync(`${path}/kept`, "utf8")).toBe("x");
    await kubectl.run(["-n", NAMESPACE, "delete", "pod/client", "pvc/data", "--timeout=60s"]);
    await kubectl.run(["wait", "--for=jsonpath={.status.phase}=Available", `pv/${volume}`, "--timeout=30s"]);
    expect(() => readFileSync(`${path}/kept`)).toThrow(/ENOENT/);
  });
});

function inClient(script: string): Promise<string> {
  const exec = ["-n", NAMESPACE, "exec", "client", "-c", "main", "--", "/nodejs/bin/node", "-e", script];
  return kubectl.run(exec).then((output) => output.trim());
}

/** Waits until a script in the client prints `answer`: Services reach the node's rules a moment after their pods. */
function resolvesAs(script: string, answer: string): Promise<true> {
  return waitFor(async () => ((await inClient(script)) === answer ? true : undefined), {
    what: `the name to resolve as ${answer}`,
    timeoutSeconds: 20,
  });
}

/** The body, or the code of the failure. */
function fetchInClient(url: string): Promise<string> {
  const options = `{ signal: AbortSignal.timeout(2000) }`;
  return inClient(
    `fetch("${url}", ${options}).then((r) => r.text()).catch((e) => e.cause?.code ?? e.name).then((t) => console.log(t))`,
  );
}

async function applyPods(): Promise<void> {
  const claim = {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data", namespace: NAMESPACE },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
  };
  const service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "server", namespace: NAMESPACE },
    spec: { selector: { app: "server" }, ports: [{ port: 8080 }] },
  };
  const items = [claim, service, pod("server", SERVER), pod("client", IDLE, clientVolumes())];
  await kubectl.apply(JSON.stringify({ apiVersion: "v1", kind: "List", items }));
}

function clientVolumes(): readonly { readonly mountPath: string; readonly volume: object }[] {
  const token = { serviceAccountToken: { path: "token", audience: "gateway" } };
  return [
    { mountPath: "/data", volume: { name: "data", persistentVolumeClaim: { claimName: "data" } } },
    { mountPath: "/token", volume: { name: "token", projected: { sources: [token] } } },
  ];
}

function pod(name: string, script: string, mounts: ReturnType<typeof clientVolumes> = []): object {
  const container = (containerName: string, source: string): object => ({
    name: containerName,
    image,
    imagePullPolicy: "Never",
    args: ["-e", source],
    resources: { limits: { memory: "128Mi" } },
    volumeMounts: mounts.map((mount, index) => ({ name: ["data", "token"][index], mountPath: mount.mountPath })),
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
  });
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: NAMESPACE, labels: { app: name } },
    spec: {
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 5,
      securityContext: { runAsNonRoot: true, fsGroup: 65532, seccompProfile: { type: "RuntimeDefault" } },
      initContainers: [{ ...container("sidecar", IDLE), restartPolicy: "Always" }],
      containers: [container("main", script)],
      volumes: mounts.map((mount) => mount.volume),
    },
  };
}

function policy(name: string, spec: object): string {
  const metadata = { name, namespace: NAMESPACE };
  return JSON.stringify({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec });
}
