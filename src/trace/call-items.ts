// What the tracer has read for a call: an item has its kind and the argument that it belongs to.
import type { SyscallEvent, SyscallItem } from "../native/events.ts";

type Of<K extends SyscallItem["kind"]> = Extract<SyscallItem, { kind: K; argument: number }>;

/** The first one of a kind for an argument. */
export function itemOf<K extends Of<SyscallItem["kind"]>["kind"]>(
  event: SyscallEvent,
  kind: K,
  argument: number,
): Of<K> | undefined {
  return event.items.find((item): item is Of<K> => item.kind === kind && "argument" in item && item.argument === argument);
}
