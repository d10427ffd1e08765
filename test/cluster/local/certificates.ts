import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../../scripts/run-command.ts";
import { ensureDebs } from "../../../scripts/tools/debs.ts";

/** A certificate by its files: NAME.crt and NAME.key in the folder of certificates. */
export interface CertificateRequest {
  readonly name: string;
  readonly commonName: string;
  /** The group of a client: system:masters is the administrator. */
  readonly organization?: string;
  /** Names of a server, as openssl writes them: `IP:127.0.0.1`, `DNS:localhost`. */
  readonly alternativeNames?: readonly string[];
  /** @default "ca" */
  readonly authority?: string;
}

const CLIENTS: readonly CertificateRequest[] = [
  { name: "admin", commonName: "kubernetes-admin", organization: "system:masters" },
  { name: "kubelet-client", commonName: "kube-apiserver-kubelet-client", organization: "system:masters" },
  { name: "front-proxy-client", commonName: "front-proxy-client", authority: "front-proxy-ca" },
];

/** Makes the authorities, the key of service account tokens, and the given certificates; valid for ten years. */
export async function createCertificates(folder: string, requests: readonly CertificateRequest[]): Promise<void> {
  if (!existsSync("/usr/bin/openssl")) await ensureDebs(["openssl"]);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const key = (name: string): string => join(folder, `${name}.key`);
  await Promise.all([
    createAuthority(folder, "ca"),
    createAuthority(folder, "front-proxy-ca"),
    runCommand([
      "openssl",
      "genpkey",
      "-algorithm",
      "RSA",
      "-pkeyopt",
      "rsa_keygen_bits:2048",
      "-out",
      key("service-account"),
    ]),
  ]);
  await Promise.all([
    ...[...CLIENTS, ...requests].map((request) => createCertificate(folder, request)),
    runCommand([
      "openssl",
      "pkey",
      "-in",
      key("service-account"),
      "-pubout",
      "-out",
      join(folder, "service-account.pub"),
    ]),
  ]);
}

function createAuthority(folder: string, name: string): Promise<unknown> {
  return runCommand([
    ...newCertificate(folder, name),
    "-subj",
    `/CN=supercargo-${name}`,
    "-addext",
    "keyUsage=critical,keyCertSign,digitalSignature",
  ]);
}

/** Makes one certificate beside the authority in that folder. */
export function createCertificate(folder: string, request: CertificateRequest): Promise<unknown> {
  const organization = request.organization === undefined ? "" : `/O=${request.organization}`;
  const authority = join(folder, request.authority ?? "ca");
  const names = request.alternativeNames?.join(",");
  return runCommand([
    ...newCertificate(folder, request.name),
    "-CA",
    `${authority}.crt`,
    "-CAkey",
    `${authority}.key`,
    "-subj",
    `${organization}/CN=${request.commonName}`,
    ...extension("basicConstraints=critical,CA:FALSE"),
    ...extension(`extendedKeyUsage=${names === undefined ? "clientAuth" : "serverAuth"}`),
    ...(names === undefined ? [] : extension(`subjectAltName=${names}`)),
  ]);
}

function extension(value: string): string[] {
  return ["-addext", value];
}

function newCertificate(folder: string, name: string): string[] {
  const files = ["-keyout", join(folder, `${name}.key`), "-out", join(folder, `${name}.crt`)];
  return [
    "openssl",
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "3650",
    ...files,
  ];
}
