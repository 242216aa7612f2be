// Times are nanoseconds since the epoch as bigint; text only at the border.

const nsPerSecond = 1_000_000_000n;

/** The last one: what a build does in one second is thousands of times. */
let known = { second: 0n, text: "1970-01-01T00:00:00" };

/** RFC 3339, UTC, always nine digits of fraction: records of one build differ in values only, never in shape. */
export function formatTime(ns: bigint): string {
  let second = ns / nsPerSecond;
  let rest = ns % nsPerSecond;
  if (rest < 0n) {
    second -= 1n;
    rest += nsPerSecond;
  }
  if (second !== known.second) {
    const text = new Date(Number(second) * 1000).toISOString(); // 2026-01-02T03:04:05.000Z
    known = { second, text: text.slice(0, -".000Z".length) };
  }
  return `${known.text}.${rest.toString().padStart(9, "0")}Z`;
}
