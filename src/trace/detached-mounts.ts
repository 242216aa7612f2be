// Mounts that are attached nowhere yet (open_tree(2) with OPEN_TREE_CLONE, fsmount(2)). Until move_mount(2) gives such a mount a place, what is
// opened or renamed by its descriptor has a name as if the mount's top were the root: other files may bear those names, and what is made
// there is no product. A tool that mounts does nothing between the two calls; whoever works in between is told.
import { posix } from "node:path";
import type { OpenEvent, SyscallEvent } from "../native/events.ts";
import { isFileOperation } from "./file-operations.ts";
import type { ReportGap } from "./gaps.ts";

const openTreeClone = 1n;

export interface DetachedMountsOptions {
  readonly reportGap: ReportGap;
  /** 0: none that we know. */
  readonly parentOf: (process: number) => number;
}

export class DetachedMounts {
  readonly #options: DetachedMountsOptions;
  /** By process. */
  readonly #makers = new Set<number>();

  constructor(options: DetachedMountsOptions) {
    this.#options = options;
  }

  onSyscall(event: SyscallEvent): void {
    if (event.entryOnly || event.result < 0n) return;
    if (makesDetached(event)) this.#makers.add(event.process);
    else if (event.name === "move_mount") this.#makers.delete(event.process);
    else if (this.#makers.size > 0 && isFileOperation(event.name)) this.#work(event.process, event.name);
  }

  onOpen({ process, argument, path }: OpenEvent): void {
    if (this.#makers.size === 0 || argument.startsWith("/") || path !== posix.join("/", argument)) return;
    this.#work(process, path);
  }

  /** By the maker, or by one that it has started. */
  #work(process: number, what: string): void {
    for (let one = process; one !== 0; one = this.#options.parentOf(one)) {
      if (!this.#makers.delete(one)) continue;
      this.#options.reportGap("detached-mount", process, what);
      return;
    }
  }
}

function makesDetached({ name, arguments: given }: SyscallEvent): boolean {
  return name === "fsmount" || (name === "open_tree" && ((given[2] ?? 0n) & openTreeClone) !== 0n);
}
