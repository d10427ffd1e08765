import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sampleInput } from "../../test/fakes/desired-input.ts";
import { type Endpoint, endpointsOf, fromService, needOf, toIpBlock } from "./peers.ts";

const context = { namespace: "agents", clusterDomain: "cluster.local" };
const endpoint = (url: string, egress?: Endpoint["egress"]): Endpoint => ({
  field: "spec.x",
  component: "gateway",
  url,
  egress,
});

describe("endpointsOf()", () => {
  const urls = (auth: object): string[] => {
    const azureOpenAI = { endpoint: "https://models.internal.example.com", deployment: "gpt" };
    const egress = { cidrs: ["10.0.0.4/32"] };
    const deployments = [{ name: "main", type: "AzureOpenAI", azureOpenAI, egress, auth }];
    const { spec } = sampleInput({ models: [{ name: "default", deployments }], tools: [] });
    return endpointsOf(spec).map(({ url, egress: named }) => `${new URL(url).host} ${named ? "named" : "public"}`);
  };

  it("has Entra beside a private model that is called with a workload identity", () => {
    expect(urls({ type: "WorkloadIdentity" })).toEqual([
      "models.internal.example.com named",
      "login.microsoftonline.com public",
    ]);
  });

  it.each([{ type: "None" }, { type: "SecretRef", secretRef: { name: "azure", key: "api-key" } }])(
    "has no more than the model with auth %o",
    (auth) => {
      expect(urls(auth)).toEqual(["models.internal.example.com named"]);
    },
  );
});

describe("endpointsOf() of issuers", () => {
  const of = (oidc: object): unknown =>
    endpointsOf(sampleInput({ exposure: { auth: { oidc: [{ name: "x", audience: "a", ...oidc }] } } }).spec).filter(
      ({ field }) => field.includes("oidc"),
    );
  const issuer = "https://id.example.com";
  const expected = { field: "spec.exposure.auth.oidc[0]", component: "gateway", egress: undefined };

  it("has the host of the discovery document, or of the keys where they are elsewhere", () => {
    expect(of({ issuer })).toEqual([{ ...expected, url: issuer }]);
    const jwksUri = "http://dex.auth.svc:5556/keys";
    expect(of({ issuer, jwksUri })).toEqual([{ ...expected, url: jwksUri }]);
  });

  it("takes the peers that an issuer names", () => {
    const egress = { cidrs: ["10.0.0.4/32"] };
    expect(of({ issuer, egress })).toEqual([{ ...expected, url: issuer, egress }]);
  });
});

describe("needOf()", () => {
  it.each([
    ["http://orders:3000/mcp", { namespace: "agents", name: "orders", port: 3000 }],
    ["http://orders.shop.svc/mcp", { namespace: "shop", name: "orders", port: 80 }],
    ["https://orders.shop.svc.cluster.local/mcp", { namespace: "shop", name: "orders", port: 443 }],
  ])("looks at the Service that %s means", (url, service) => {
    expect(needOf(endpoint(url), context)).toEqual({ kind: "Service", ...service });
  });

  it.each([
    ["http://10.0.0.7:8000/v1", "names an address"],
    ["https://[fd00::1]/v1", "names an address"],
    ["https://api.example.com:8443/v1", "not on port 443"],
    ["http://api.example.com/v1", "not on port 443"],
    ["nonsense", "must hold a URL"],
  ])("wants egress for %s", (url, message) => {
    expect(needOf(endpoint(url), context)).toMatchObject({
      kind: "Invalid",
      message: expect.stringContaining(message),
    });
  });

  it("opens port 443 of public addresses alone for a public host", () => {
    const need = needOf(endpoint("https://api.example.com/v1"), context);
    expect(need).toMatchObject({ kind: "Rule", rule: { ports: [{ port: 443, protocol: "TCP" }] } });
    const text = JSON.stringify(need);
    for (const range of ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"])
      expect(text).toContain(range);
  });

  it("takes the peers of egress as they are, with the URL's port unless others are named", () => {
    const podSelector = { matchLabels: { app: "orders" } };
    expect(needOf(endpoint("http://orders:3000/mcp", { podSelector }), context)).toEqual({
      kind: "Rule",
      rule: { to: [{ podSelector }], ports: [{ port: 3000, protocol: "TCP" }] },
    });
    expect(needOf(endpoint("http://orders:3000/mcp", { podSelector, ports: [9] }), context)).toMatchObject({
      rule: { ports: [{ port: 9 }] },
    });
  });

  it.each(["169.254.169.254/32", "169.254.0.0/16", "fe80::/10", "not-an-address/8", "10.0.0.0/33", "10.0.0.0"])(
    "refuses the block %s",
    (cidr) => {
      expect(needOf(endpoint("http://x:1/", { cidrs: [cidr] }), context)).toMatchObject({
        kind: "Invalid",
        message: expect.stringContaining(`current value is ${cidr}`),
      });
    },
  );
});

describe("fromService()", () => {
  const service = (spec: Readonly<Record<string, unknown>>) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "orders" },
    spec,
  });
  const need = { namespace: "shop", port: 80 };

  it.each([
    [{ port: 80, targetPort: 8080 }, 8080],
    [{ port: 80, targetPort: "http" }, "http"],
    [{ port: 80 }, 80],
  ])("allows its pods on the target port of %o", (port, expected) => {
    expect(fromService(endpoint("http://x"), need, service({ selector: { app: "o" }, ports: [port] }))).toMatchObject({
      kind: "Rule",
      rule: {
        to: [
          {
            namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "shop" } },
            podSelector: { matchLabels: { app: "o" } },
          },
        ],
        ports: [{ port: expected }],
      },
    });
  });

  it.each([
    [{ ports: [{ port: 80 }] }, "selects no pods"],
    [{ selector: { app: "o" }, ports: [{ port: 81 }] }, "must use a port of the Service"],
  ])("cannot tell the peers of %o", (spec, message) => {
    expect(fromService(endpoint("http://x"), need, service(spec))).toMatchObject({
      kind: "Invalid",
      message: expect.stringContaining(message),
    });
  });
});

describe("toIpBlock()", () => {
  it("law: no block that it allows reaches IMDS", () => {
    const imds = [169, 254, 169, 254];
    const near = fc.tuple(fc.constantFrom(168, 169, 170), fc.constantFrom(253, 254, 255), fc.nat(255), fc.nat(255));
    fc.assert(
      fc.property(near, fc.nat(32), (octets, length) => {
        const block = toIpBlock(`${octets.join(".")}/${length}`);
        const covers = toBits(octets).slice(0, length) === toBits(imds).slice(0, length);
        if (covers && block) expect(block.ipBlock.except).toEqual(["169.254.0.0/16"]);
        if (!block) expect(toBits(octets).slice(0, 16)).toBe(toBits(imds).slice(0, 16));
      }),
      { numRuns: 2_000 },
    );
  });
});

function toBits(octets: readonly number[]): string {
  return octets.map((octet) => octet.toString(2).padStart(8, "0")).join("");
}
