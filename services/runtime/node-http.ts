import { getBuiltinModule } from "node:process";

/**
 * node:http, fetched without an import: importing it reads every export, among them WebSocket, which loads the whole of
 * undici. Measured on Node 24: 58 MiB against 44 for a process that does nothing else. The meter's sidecar runs in every pod.
 */
export const { Agent, createServer, request } = getBuiltinModule("node:http");
