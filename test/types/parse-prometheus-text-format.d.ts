/** The npm parser that ours is compared with; it brings no types. */
declare module "parse-prometheus-text-format" {
  interface Family {
    readonly name: string;
    readonly type: string;
    readonly metrics: readonly {
      readonly value?: string;
      readonly labels?: Readonly<Record<string, string>>;
      readonly timestamp_ms?: string;
    }[];
  }
  export default function parsePrometheusTextFormat(text: string): readonly Family[];
}
