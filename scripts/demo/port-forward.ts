import { type ChildProcess, spawn } from "node:child_process";
import type { Kubectl } from "./kubectl.ts";

export interface PortForward {
  /** http://127.0.0.1:PORT */
  readonly url: string;
  stop(): void;
}

/** Opens `kubectl port-forward` on a free local port (or the one given) and resolves when it listens. */
export function forwardPort(
  kubectl: Kubectl,
  target: { readonly namespace: string; readonly resource: string; readonly port: number; readonly localPort?: number },
): Promise<PortForward> {
  const child = spawn(
    kubectl.path,
    [
      `--kubeconfig=${kubectl.kubeconfig}`,
      "-n",
      target.namespace,
      "port-forward",
      target.resource,
      `${target.localPort ?? ""}:${target.port}`,
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  return new Promise((resolve, reject) => {
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code) =>
      reject(new Error(`Cannot forward a port to ${target.resource} (code ${String(code)}): ${stderr.trim()}`)),
    );
    child.stdout.on("data", (chunk: Buffer) => {
      const port = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(chunk.toString())?.[1];
      if (port !== undefined) resolve({ url: `http://127.0.0.1:${port}`, stop: () => stopChild(child) });
    });
  });
}

function stopChild(child: ChildProcess): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.kill("SIGKILL");
}
