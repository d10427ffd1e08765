import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Gateways that we are measured against. They are installed outside of the lockfile, once, and are no part of the product. */
export const PEERS = { portkey: "1.15.2", litellm: "1.108.7", nginx: "Debian's" } as const;

export interface Installed {
  /** The program and its first arguments. */
  readonly program: readonly string[];
  readonly cwd?: string;
}

/** Installs a peer into `folder`, or finds it there. Throws when the machine cannot: the bench then goes on without it. */
export function installPeer(name: keyof typeof PEERS, folder: string): Installed {
  const home = join(folder, `${name}-${PEERS[name].replace(/\W/g, "")}`);
  mkdirSync(home, { recursive: true });
  return INSTALLERS[name](home);
}

const INSTALLERS: Readonly<Record<keyof typeof PEERS, (home: string) => Installed>> = {
  portkey(home) {
    const start = "node_modules/@portkey-ai/gateway/build/start-server.js";
    if (!existsSync(join(home, start))) {
      // Without the overrides every stream is a 500 (its issues 1389 and 1550).
      const overrides = { "@hono/node-server": "1.14.1", "@hono/node-ws": "1.2.0" };
      const dependencies = { "@portkey-ai/gateway": PEERS.portkey };
      writeFileSync(join(home, "package.json"), JSON.stringify({ private: true, dependencies, overrides }));
      run("npm", ["install", "--no-audit", "--no-fund"], home);
    }
    return { program: [process.execPath, start, "--headless"], cwd: home };
  },
  litellm(home) {
    const program = join(home, "bin/litellm");
    if (!existsSync(program)) {
      run("python3", ["-m", "venv", home], home);
      run(join(home, "bin/pip"), ["install", "--quiet", `litellm[proxy]==${PEERS.litellm}`], home);
    }
    return { program: [program] };
  },
  nginx(home) {
    const program = join(home, "usr/sbin/nginx");
    if (!existsSync(program)) {
      run("apt-get", ["download", "nginx"], home);
      for (const file of readdirSync(home).filter((each) => each.endsWith(".deb")))
        run("dpkg", ["-x", file, "."], home);
    }
    return { program: [program] };
  },
};

function run(program: string, args: readonly string[], cwd: string): void {
  execFileSync(program, args, { cwd, stdio: ["ignore", "ignore", "pipe"] });
}

/** One worker that passes everything on and logs nothing: the floor. */
export function nginxConfig(folder: string, ports: { readonly model: number; readonly own: number }): string {
  const temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  return `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off; client_body_buffer_size 256k; keepalive_requests 10000000; ${temps.join(" ")}
  upstream model { server 127.0.0.1:${ports.model}; keepalive 256; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:${ports.own};
    location / { proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}
`;
}

/** One worker, one key, no database, no callbacks: the least that its proxy does. */
export function litellmConfig(modelPort: number, key: string): string {
  return JSON.stringify({
    model_list: [
      {
        model_name: "bench",
        litellm_params: { model: "openai/m", api_base: `http://127.0.0.1:${modelPort}/v1`, api_key: "none" },
      },
    ],
    general_settings: { master_key: key },
    litellm_settings: { telemetry: false },
  });
}
