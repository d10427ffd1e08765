import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CommandError, runCommand } from "../../../scripts/run-command.ts";
import { ensureKubectl } from "../../../scripts/tools/helm-and-kubectl.ts";
import { type LightCluster, startLightCluster } from "./light.ts";

let cluster: LightCluster;
let kubectl: string;

beforeAll(async () => {
  [cluster, kubectl] = await Promise.all([startLightCluster(), ensureKubectl()]);
});
afterAll(() => cluster.stop());

async function run(args: readonly string[], input = ""): Promise<string> {
  return (await runCommand([kubectl, `--kubeconfig=${cluster.kubeconfig}`, ...args], { input })).stdout;
}

describe("startLightCluster", () => {
  it("takes an apply and refuses an unknown field under strict validation", async () => {
    const map = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "greeting", namespace: "default" },
      data: { a: "b" },
    };
    const apply = ["apply", "--server-side", "--validate=strict", "-f", "-"];
    await run(apply, JSON.stringify(map));
    expect(await run(["get", "configmap", "greeting", "-o", "jsonpath={.data.a}"])).toBe("b");
    await expect(run(apply, JSON.stringify({ ...map, dato: {} }))).rejects.toThrow(/\.dato/);
  });

  it("enforces RBAC: a new service account's token may not list secrets", async () => {
    await run(["create", "serviceaccount", "nobody"]);
    const token = (await run(["create", "token", "nobody", "--audience=https://kubernetes.default.svc"])).trim();
    const list = runCommand([
      kubectl,
      "--kubeconfig=/dev/null",
      `--server=${cluster.server}`,
      "--insecure-skip-tls-verify",
      `--token=${token}`,
      "get",
      "secrets",
    ]);
    await expect(list).rejects.toThrow(CommandError);
    await expect(list).rejects.toThrow(/system:serviceaccount:default:nobody.*cannot list resource "secrets"/);
  });

  it("publishes the keys of its service account tokens", async () => {
    const keys: unknown = JSON.parse(await run(["get", "--raw", "/openid/v1/jwks"]));
    expect(keys).toMatchObject({ keys: [{ kty: "RSA", alg: "RS256" }] });
  });

  it("runs beside another one and leaves nothing when stopped", async () => {
    const other = await startLightCluster();
    expect(other.server).not.toBe(cluster.server);
    await other.stop();
    expect(existsSync(other.kubeconfig)).toBe(false);
    await expect(fetch(`${other.server}/livez`)).rejects.toThrow(/fetch failed/);
  });

  it("dies with its process, even by kill -9", async () => {
    const server = await serverOfKilledProcess();
    await expect
      .poll(() =>
        fetch(`${server}/livez`).then(
          () => "answers",
          (error: unknown) => causeCode(error),
        ),
      )
      .toBe("ECONNREFUSED");
  });
});

/** Starts a light cluster in a process of its own, kills that process, and returns where the API server was. */
function serverOfKilledProcess(): Promise<string> {
  const light = join(import.meta.dirname, "light.ts");
  const script = `import { startLightCluster } from ${JSON.stringify(light)}; console.log((await startLightCluster()).server); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    child.on("close", (code) => reject(new Error(`ended with ${String(code)} before it printed a server`)));
    child.stdout.on("data", (chunk: Buffer) => {
      const server = /https:\S+/.exec(chunk.toString())?.[0];
      if (server === undefined) return;
      child.kill("SIGKILL");
      resolve(server);
    });
  });
}

function causeCode(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error && "code" in error.cause ? error.cause.code : error;
}
