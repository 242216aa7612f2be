// Times are nanoseconds since the epoch as bigint; text only at the border.

const nsPerMs = 1_000_000n;

/** RFC 3339, UTC, always nine digits of fraction: records of one build differ in values only, never in shape. */
export function formatTime(ns: bigint): string {
  let ms = ns / nsPerMs;
  let rest = ns % nsPerMs;
  if (rest < 0n) {
    ms -= 1n;
    rest += nsPerMs;
  }
  const text = new Date(Number(ms)).toISOString(); // 2026-01-02T03:04:05.678Z
  return `${text.slice(0, -1)}${rest.toString().padStart(6, "0")}Z`;
}
