import { createServer } from "node:http";

/** A span as a collector reads it. */
export interface SentSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
}

/** An OTLP collector over HTTP: it keeps what it gets. */
export interface Collector {
  readonly url: string;
  /** The protobuf of each export. */
  readonly bodies: Buffer[];
  readonly contentTypes: (string | undefined)[];
  /** Set it to have exports refused. */
  status: number;
  spans(): SentSpan[];
  stop(): void;
}

/** `host`: the address to listen on; loopback unless given. */
export async function startCollector(host = "127.0.0.1"): Promise<Collector> {
  const bodies: Buffer[] = [];
  const contentTypes: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      bodies.push(Buffer.concat(chunks));
      contentTypes.push(request.headers["content-type"]);
      response.writeHead(collector.status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  const collector: Collector = {
    url: `http://${host}:${typeof address === "object" && address ? address.port : 0}`,
    bodies,
    contentTypes,
    status: 200,
    spans: () => bodies.flatMap(readSpans),
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
  return collector;
}

/** ExportTraceServiceRequest: resource_spans = 1, scope_spans = 2, spans = 2 (opentelemetry-proto, trace/v1). */
function readSpans(request: Buffer): SentSpan[] {
  return parts(request, 1)
    .flatMap((resource) => parts(resource, 2))
    .flatMap((scope) => parts(scope, 2))
    .map((span) => ({
      traceId: hex(parts(span, 1)),
      spanId: hex(parts(span, 2)),
      parentSpanId: hex(parts(span, 4)),
      name: parts(span, 5)[0]?.toString() ?? "",
      kind: [...fields(span)].find(({ field }) => field === 6)?.number ?? 0,
    }));
}

function hex([bytes]: readonly Buffer[]): string {
  return bytes?.toString("hex") ?? "";
}

function parts(message: Buffer, field: number): Buffer[] {
  return [...fields(message)].flatMap((each) => (each.field === field && each.bytes ? [each.bytes] : []));
}

/** The fields of a protobuf message: varints, fixed numbers, and what has a length. */
function* fields(message: Buffer): Generator<{ field: number; number?: number; bytes?: Buffer }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const key = varint();
    const field = Math.floor(key / 8);
    const wire = key % 8;
    if (wire === 0) yield { field, number: varint() };
    else {
      const length = wire === 2 ? varint() : wire === 1 ? 8 : 4;
      yield { field, bytes: message.subarray(at, at + length) };
      at += length;
    }
  }
}
