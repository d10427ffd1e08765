import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { exportJWK, generateKeyPair, SignJWT } from "jose";

/** What stands around a gateway in a cluster: an issuer of tokens, whose keys it fetches, and a collector, which takes all spans. */
export interface Surroundings {
  readonly issuer: string;
  readonly audience: string;
  readonly jwksUri: string;
  /** Good for an hour. */
  readonly token: string;
  readonly collector: string;
  stop(): void;
}

const AUDIENCE = "bench";
const KEY_ID = "one";

export async function startSurroundings(): Promise<Surroundings> {
  const { publicKey, privateKey } = await generateKeyPair("RS256", { extractable: true });
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: KEY_ID, alg: "RS256", use: "sig" }] });
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    request.on("end", () => {
      const isKeys = request.url === "/keys";
      response.writeHead(200, { "content-type": isKeys ? "application/json" : "application/x-protobuf" });
      response.end(isKeys ? keys : "");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  const token = await new SignJWT({ scope: "agent" })
    .setProtectedHeader({ alg: "RS256", kid: KEY_ID, typ: "at+jwt" })
    .setIssuer(url)
    .setAudience(AUDIENCE)
    .setSubject("a client")
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(privateKey);
  return {
    issuer: url,
    audience: AUDIENCE,
    jwksUri: `${url}/keys`,
    token,
    collector: url,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
