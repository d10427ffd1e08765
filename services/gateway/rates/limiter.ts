import { Refusal } from "#core/errors.ts";
import {
  correct,
  headersOf,
  isNear,
  look,
  type Look,
  openMeter,
  type RateMeter,
  type RateSpec,
  takeAll,
} from "./meter.ts";

/** Who asks, by each way of counting; absent where it does not apply. */
export interface RateSubjects {
  readonly Key: string | undefined;
  readonly Caller: string;
  readonly Tenant: string | undefined;
  readonly Agent: string;
}

/** What a request takes: itself, and the tokens that it is expected to use. */
export interface RateNeed {
  readonly requests: number;
  readonly tokens: number;
}

/** A place that was taken. */
export interface RateHold {
  /** For the answer: the unit's tightest bucket. */
  readonly headers: Readonly<Record<string, string>>;
  /** Limits that would have refused, were they enforced. */
  readonly shadowed: readonly RateSpec[];
  /** Limits that are used up to 80 %. */
  readonly near: readonly RateSpec[];
  /** Corrects the estimate by what was truly used. Once. */
  settle(tokens: number): void;
}

export interface RateLimiter {
  /** What is limited now. Buckets of rates that stay keep what was used of them. */
  setRates(specs: readonly RateSpec[]): void;
  /**
   * Takes a place with all limits or with none: nothing when no limit applies. Throws Refusal `rate_limit_exceeded` with the
   * wait of the limit that is free last, with headers that tell of it.
   */
  admit(subjects: RateSubjects, need: RateNeed, nowMs: number): RateHold | undefined;
}

/** A refusal by a rate, with what the answer says of it. */
export class RateRefusal extends Refusal {
  readonly spec: RateSpec;
  readonly headers: Readonly<Record<string, string>>;
  constructor(spec: RateSpec, waitMs: number, headers: Readonly<Record<string, string>>) {
    const whom = spec.per === "Agent" ? "the agent" : `a ${spec.per.toLowerCase()}`;
    super(
      "rate_limit_exceeded",
      `Cannot begin the request as the limit ${spec.limit} allows ${whom} ${spec.perMinute} ${spec.unit} per minute`,
      { retryAfterMs: waitMs, rule: `rate_${spec.limit}` },
    );
    this.spec = spec;
    this.headers = headers;
  }
}

export function createRateLimiter(): RateLimiter {
  let meters: readonly RateMeter[] = [];
  return {
    setRates(specs) {
      const known = new Map(meters.map((meter) => [idOf(meter.spec), meter]));
      meters = specs.map((spec) => openMeter(spec, known.get(idOf(spec))));
    },
    admit(subjects, need, nowMs) {
      const looks = lookAll(meters, { subjects, need, nowMs });
      if (looks.length === 0) return undefined;
      const refusing = looks.filter(({ waitMs, meter }) => waitMs > 0 && !meter.spec.isShadow);
      const [last] = refusing.toSorted((a, b) => b.waitMs - a.waitMs);
      if (last !== undefined) throw new RateRefusal(last.meter.spec, last.waitMs, allHeaders(looks));
      const taken = looks.filter(({ waitMs }) => waitMs === 0);
      for (const each of taken) takeAll(each);
      return toHold(looks, taken);
    },
  };
}

function idOf({ limit, unit, per }: RateSpec): string {
  return `${per}/${unit}/${limit}`;
}

function lookAll(
  meters: readonly RateMeter[],
  ask: { readonly subjects: RateSubjects; readonly need: RateNeed; readonly nowMs: number },
): Look[] {
  const looks: Look[] = [];
  for (const meter of meters) {
    const subject = ask.subjects[meter.spec.per];
    const units = ask.need[meter.spec.unit];
    if (subject !== undefined && units > 0) looks.push(look(meter, { subject, units, nowMs: ask.nowMs }));
  }
  return looks;
}

function toHold(looks: readonly Look[], taken: readonly Look[]): RateHold {
  const tokens = taken.filter(({ meter }) => meter.spec.unit === "tokens");
  let isSettled = false;
  return {
    headers: allHeaders(looks),
    shadowed: looks.filter(({ waitMs }) => waitMs > 0).map(({ meter }) => meter.spec),
    near: taken.filter(isNear).map(({ meter }) => meter.spec),
    settle(used) {
      if (isSettled) return;
      isSettled = true;
      for (const each of tokens) correct(each, used);
    },
  };
}

/** Of each unit the enforced bucket with the least in it. */
function allHeaders(looks: readonly Look[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const unit of ["requests", "tokens"] as const) {
    const [tightest] = looks
      .filter(({ meter }) => meter.spec.unit === unit && !meter.spec.isShadow)
      .toSorted((a, b) => a.bucket.level / a.meter.rate.partsPerUnit - b.bucket.level / b.meter.rate.partsPerUnit);
    if (tightest) headersOf(tightest, headers);
  }
  return headers;
}
