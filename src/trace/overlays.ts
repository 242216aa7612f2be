// An overlayfs that the build mounts for writing gives each file that is written through it a second identity and a second name, in its upper
// directory, which no other call tells: those files are missing among the products, and are inputs to whoever reads them there.
import type { SyscallEvent } from "../native/events.ts";
import { escapeBytes } from "../text.ts";

/** The upper directory as the call names it; undefined: it mounts no such thing. */
export function upperDirectory(event: SyscallEvent): string | undefined {
  if (event.result < 0n) return undefined;
  switch (event.name) {
    case "mount":
      return textOf(event, 2) === "overlay" ? /(?:^|,)upperdir=([^,]*)/.exec(textOf(event, 4) ?? "")?.[1] : undefined;
    case "fsconfig":
      return textOf(event, 2) === "upperdir" ? (textOf(event, 3) ?? "") : undefined;
    default:
      return undefined;
  }
}

function textOf(event: SyscallEvent, argument: number): string | undefined {
  for (const item of event.items) if (item.kind === "bytes" && item.argument === argument) return escapeBytes(item.bytes);
  return undefined;
}
