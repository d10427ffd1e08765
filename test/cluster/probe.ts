import type { Kubectl } from "../../scripts/demo/kubectl.ts";

export interface ProbeFrom {
  readonly namespace: string;
  /** pod/NAME or deployment/NAME */
  readonly resource: string;
  readonly container: string;
}

/** Opens a TCP connection from inside a running container; the container has Node and no shell. */
const SCRIPT = `
const [host, port] = process.argv.slice(1);
const socket = require("node:net").connect({ host, port: Number(port), timeout: 3000 });
const end = (word) => { console.log(word); process.exit(0); };
socket.on("connect", () => end("connected"));
socket.on("timeout", () => end("timeout"));
socket.on("error", (error) => end(error.code));
`;

/** What a connection attempt from that container ends with: `connected`, `timeout`, or an error code. */
export async function probe(
  kubectl: Kubectl,
  from: ProbeFrom,
  to: { readonly host: string; readonly port: number },
): Promise<string> {
  const output = await kubectl.run([
    "-n",
    from.namespace,
    "exec",
    from.resource,
    "-c",
    from.container,
    "--",
    "/nodejs/bin/node",
    "-e",
    SCRIPT,
    to.host,
    String(to.port),
  ]);
  return output.trim();
}
