import { connect, createServer, type Socket } from "node:net";

export interface CuttingProxy {
  /** https://127.0.0.1:PORT, with the certificate of the server behind. */
  readonly server: string;
  /** Ends every connection: with a reset, or politely. Returns how many there were. */
  cut(how: "Reset" | "End"): number;
  stop(): Promise<void>;
}

/** Passes bytes to an API server, and breaks connections when told to, wherever they are in a line of a watch. */
export async function startCuttingProxy(target: string): Promise<CuttingProxy> {
  const url = new URL(target);
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect({ host: url.hostname, port: Number(url.port) });
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    server: `https://127.0.0.1:${port}`,
    cut(how) {
      const sockets = [...open];
      for (const socket of sockets) {
        if (how === "Reset") socket.resetAndDestroy();
        else socket.end();
      }
      return sockets.length;
    },
    stop() {
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
