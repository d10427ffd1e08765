import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { ConfigError, parseConfig } from "#runtime/config.ts";
import { STAND_INS, type EmulatorOptions } from "./app.ts";
import { EVENTS_DEFAULT, EVENTS_MAX } from "./state.ts";
import { emptySeed, seedSchema, type Seed } from "./seed.ts";

const list = z
  .string()
  .default("")
  .transform((text) =>
    text
      .split(",")
      .map((entry) => entry.trim())
      .filter((entry) => entry !== ""),
  );
const port = (value: number) => z.coerce.number().int().min(0).max(65_535).default(value);

/** The environment of the emulator. */
const environment = z.object({
  /** Which stand-ins this process runs, separated by commas. */
  STAND_INS: list.pipe(z.array(z.enum(STAND_INS))),
  HOST: z.string().default("0.0.0.0"),
  /** Metering, model, Content Safety and issuer. */
  PORT: port(8080),
  CONTROL_PORT: port(8081),
  IMDS_HOST: z.string().default("0.0.0.0"),
  IMDS_PORT: port(8082),
  /** What PORT serves, also over HTTPS when both files are given: certificate chain and key as PEM. */
  TLS_PORT: port(8443),
  TLS_CERT_FILE: z.string().min(1).optional(),
  TLS_KEY_FILE: z.string().min(1).optional(),
  /** The base URL under which clients reach the issuer. */
  PUBLIC_URL: z
    .url()
    .transform((url) => url.replace(/\/$/, ""))
    .optional(),
  /** YAML or JSON: resources, identities, switches. */
  RESOURCES_FILE: z.string().min(1).optional(),
  /** Processes with one seed share their signing keys: metering must believe tokens of an IMDS in another pod. */
  SIGNING_SEED: z.string().min(1).max(1024).optional(),
  /** A private key as PKCS8 PEM in place of the seed. */
  SIGNING_KEY_FILE: z.string().min(1).optional(),
  /** Key: a key or token is demanded. None: callers need none. */
  MODEL_AUTH: z.enum(["Key", "None"]).default("Key"),
  /** The keys that are accepted; any if empty. */
  MODEL_API_KEYS: list,
  MODEL_DEPLOYMENTS: list,
  /** The keys that Content Safety accepts; any if empty. */
  CONTENT_SAFETY_KEYS: list,
  CLOCK_OFFSET_SECONDS: z.coerce.number().int().min(0).max(315_360_000).default(0),
  /** A JSON file that keeps the state over restarts. */
  STATE_FILE: z.string().min(1).optional(),
  /** Booked events that are kept; usage beyond it gets 503. */
  EVENTS_MAX: z.coerce.number().int().min(25).max(EVENTS_MAX).default(EVENTS_DEFAULT),
  LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
});

type Settings = z.output<typeof environment>;

/** Names of all settings; docs/emulator.md explains each. */
export const SETTINGS: readonly string[] = Object.keys(environment.shape);

export interface EmulatorConfig {
  readonly options: Partial<EmulatorOptions>;
  readonly logLevel: string;
}

/** Options from the environment and its files. Throws ConfigError with every problem. */
export function readConfig(env: NodeJS.ProcessEnv): EmulatorConfig {
  const settings = parseConfig(environment, env, {
    subject: "the environment of the emulator",
    secrets: ["SIGNING_SEED", "MODEL_API_KEYS", "CONTENT_SAFETY_KEYS"],
  });
  const pem = settings.SIGNING_KEY_FILE === undefined ? undefined : readText(settings.SIGNING_KEY_FILE);
  const options: Partial<EmulatorOptions> = {
    standIns: settings.STAND_INS.length === 0 ? STAND_INS : settings.STAND_INS,
    main: { host: settings.HOST, port: settings.PORT },
    control: { host: settings.HOST, port: settings.CONTROL_PORT },
    imds: { host: settings.IMDS_HOST, port: settings.IMDS_PORT },
    ...readTls(settings),
    seed: settings.RESOURCES_FILE === undefined ? emptySeed : readSeed(settings.RESOURCES_FILE),
    model: { auth: settings.MODEL_AUTH, apiKeys: settings.MODEL_API_KEYS, deployments: settings.MODEL_DEPLOYMENTS },
    contentSafety: { keys: settings.CONTENT_SAFETY_KEYS },
    offsetSeconds: settings.CLOCK_OFFSET_SECONDS,
    eventsMax: settings.EVENTS_MAX,
    ...(settings.STATE_FILE === undefined ? {} : { stateFile: settings.STATE_FILE }),
    ...(settings.PUBLIC_URL === undefined ? {} : { publicUrl: settings.PUBLIC_URL }),
    keys: {
      ...(settings.SIGNING_SEED === undefined ? {} : { seed: settings.SIGNING_SEED }),
      ...(pem === undefined ? {} : { pem }),
    },
  };
  return { options, logLevel: settings.LOG_LEVEL };
}

function readTls(settings: Settings): Pick<EmulatorOptions, "tls"> | undefined {
  const { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile, HOST: host, TLS_PORT: port } = settings;
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined)
    throw new ConfigError("the environment of the emulator", [
      `${certFile === undefined ? "TLS_CERT_FILE" : "TLS_KEY_FILE"}: must be set when the other of certificate and key is`,
    ]);
  return { tls: { host, port, cert: readText(certFile), key: readText(keyFile) } };
}

/** Reads resources, identities and switches from a YAML or JSON file. */
function readSeed(file: string): Seed {
  let content: unknown;
  try {
    content = parse(readText(file));
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(file, [error instanceof Error ? error.message : String(error)]);
  }
  return parseConfig(seedSchema, content ?? {}, { subject: file });
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(file, [error instanceof Error ? error.message : String(error)]);
  }
}
