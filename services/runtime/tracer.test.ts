import { describe, expect, it } from "vitest";
import { systemClock } from "./clock.ts";
import { createTracer, type FinishedSpan, type SpanSender, WAITING_MAX } from "./tracer.ts";

const span = (name: string): FinishedSpan => ({
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  spanId: "00f067aa0ba902b7",
  parentSpanId: undefined,
  traceState: undefined,
  name,
  kind: "server",
  startMs: 1,
  endMs: 2,
  attributes: {},
  error: undefined,
});

function open(send: SpanSender["send"]) {
  const noted = { sent: 0, failed: 0, dropped: 0 };
  const tracer = createTracer({
    ratio: 1,
    sender: { send, close: () => Promise.resolve() },
    clock: systemClock,
    note: (result, spans) => {
      noted[result] += spans;
    },
  });
  return { tracer, noted };
}

const burst = (tracer: { end(span: FinishedSpan): void }, spans: number): void => {
  for (let at = 0; at < spans; at += 1) tracer.end(span(String(at)));
};

describe("createTracer()", () => {
  it.each([1, 255, 256, 257, 300, 2000])("sends %i spans that end at once, each once and in order", async (spans) => {
    const names: string[] = [];
    const { tracer, noted } = open((batch) => Promise.resolve(void names.push(...batch.map((one) => one.name))));
    burst(tracer, spans);
    // A whole batch goes at once, what is less waits for others.
    if (spans >= 256) await systemClock.sleep(30);
    expect(names.length).toBe(spans >= 256 ? spans : 0);
    await tracer.stop(1_000);
    expect(names).toEqual(Array.from({ length: spans }, (_, at) => String(at)));
    expect(noted).toEqual({ sent: spans, failed: 0, dropped: 0 });
  });

  it("drops and counts what is too much", async () => {
    const { tracer, noted } = open(() => Promise.resolve());
    burst(tracer, WAITING_MAX + 7);
    await tracer.stop(1_000);
    expect(noted).toEqual({ sent: WAITING_MAX, failed: 0, dropped: 7 });
  });

  it("counts what could not be sent, and goes on", async () => {
    let tries = 0;
    const { tracer, noted } = open(() => (++tries === 1 ? Promise.reject(new Error("No")) : Promise.resolve()));
    burst(tracer, 300);
    await tracer.stop(1_000);
    expect(noted).toEqual({ sent: 44, failed: 256, dropped: 0 });
  });

  it("ends by its deadline though a collector hangs", async () => {
    const { tracer, noted } = open(() => new Promise(() => undefined));
    burst(tracer, 300);
    const startMs = systemClock.monotonic();
    await tracer.stop(100);
    expect(systemClock.monotonic() - startMs).toBeLessThan(1_000);
    expect(noted).toEqual({ sent: 0, failed: 0, dropped: 44 });
  });
});
