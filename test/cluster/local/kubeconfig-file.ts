import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Writes a kubeconfig of one cluster and one client certificate, all inside the file, readable by its owner only. */
export function writeKubeconfig(
  path: string,
  options: { readonly server: string; readonly certificates: string; readonly client: string },
): void {
  const encoded = (file: string): string => readFileSync(join(options.certificates, file)).toString("base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "local", cluster: { server: options.server, "certificate-authority-data": encoded("ca.crt") } }],
    users: [
      {
        name: options.client,
        user: {
          "client-certificate-data": encoded(`${options.client}.crt`),
          "client-key-data": encoded(`${options.client}.key`),
        },
      },
    ],
    contexts: [{ name: "local", context: { cluster: "local", user: options.client } }],
    "current-context": "local",
  };
  // JSON is YAML, and every reader of a kubeconfig takes it.
  writeFileSync(path, `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o600 });
}
