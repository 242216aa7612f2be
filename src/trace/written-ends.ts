// At the end of the run, when nobody is left who can write: whether a file still is what its last writer left. Whose writer left nobody
// behind keeps what it left: what is there now somebody outside of the build has written, which is a gap. Of the others it is what is there.
import { lstatSync } from "node:fs";
import { unescapeText } from "../text.ts";
import { type Contents, isSameContent, pendingContent } from "./contents.ts";
import type { FileState } from "./digest-file.ts";
import type { ReportGap } from "./gaps.ts";
import type { WrittenDigests } from "./written-digests.ts";
import { type Final, setLeftState, type WrittenFile } from "./written-file.ts";

export interface EndOptions {
  readonly contents: Contents;
  readonly digests: WrittenDigests;
  readonly reportGap: ReportGap;
}

export function checkEnd(file: WrittenFile, path: string, final: Final, { contents, digests, reportGap }: EndOptions): void {
  const { content, state, leaving, writers } = final;
  const { process } = leaving[0];
  const isCertain = writers === "nobody";
  const found = atEnd(file, path, state);
  if (found === "another file") {
    // Names that the build gives we see: a file that was written aside, and then got this name, is an outsider's.
    reportGap("unverified-content", process, path);
    return;
  }
  if (isCertain && found === "as left") return;
  const unless = !isCertain && contents.isMapped(file) ? undefined : state;
  digests.byName(file, path, unless, result => {
    if (result.kind === "unchanged") return;
    const before = { ...content };
    if (isCertain) {
      const now = pendingContent(file.size);
      if (result.kind !== "gone") contents.settle(now, result, process, path);
      if (result.kind !== "gone" && !isSameContent(now, content)) reportGap("unverified-content", process, path);
      return;
    }
    // Whoever removes a file unseen by us has no effect on what was left in it.
    if (result.kind !== "gone") contents.settle(content, result, process, path);
    if (result.kind === "digest") setLeftState(leaving, result.state);
    // Of whom we do not know we cannot say when.
    if (writers === "hidden" ? result.kind === "gone" : !isSameContent(before, content)) {
      reportGap("unverified-content", process, path);
    }
  });
}

/** `state` is what was digested. What is not there any more, or is no regular file, is as it was left. */
function atEnd(file: WrittenFile, path: string, state: FileState): "as left" | "changed" | "another file" {
  try {
    const now = lstatSync(Buffer.from(unescapeText(path)), { bigint: true });
    if (!now.isFile()) return "as left";
    // Another device is that of a mount: the build's own namespace has other files there than ours.
    if (now.dev !== file.device) return "as left";
    if (now.ino !== file.inode) return "another file";
    return now.size === state.size && now.mtimeNs === state.mtimeNs ? "as left" : "changed";
  } catch {
    return "as left";
  }
}
