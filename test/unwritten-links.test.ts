// Hard links of files that nobody has written yet: what happens to such names until somebody does.
import { expect, test } from "bun:test";
import type { FileIdentity } from "../src/native/events.ts";
import { UnwrittenLinks } from "../src/trace/unwritten-links.ts";

const file = (inode: bigint): FileIdentity => ({
  device: 1n,
  inode,
  size: 0n,
  blocks: 0n,
  mtimeNs: 0n,
  ctimeNs: 0n,
  birthNs: 7n,
  mode: 0o100644,
  links: 2,
  fileSystem: 0xef53,
  uid: 0,
});

function linked(): UnwrittenLinks {
  const links = new UnwrittenLinks(() => undefined);
  links.linked(file(1n), "/a", "/d/b");
  return links;
}

const rows: [name: string, change: (links: UnwrittenLinks) => void, names: string[]][] = [
  ["made", () => undefined, ["/a", "/d/b"]],
  ["another one", links => links.linked(file(1n), "/a", "/c"), ["/a", "/d/b", "/c"]],
  ["removed", links => links.removed("/a"), ["/d/b"]],
  ["renamed", links => links.renamed("/a", "/z", file(1n)), ["/d/b", "/z"]],
  ["replaced by another file", links => links.renamed("/other", "/a", file(2n)), ["/d/b"]],
  ["below a directory that is moved", links => links.names.moveBelow([["/d", "/e"]]), ["/a", "/e/b"]],
  ["all removed, and the number is another file's", links => ["/a", "/d/b"].forEach(path => void links.removed(path)), []],
];
test.each(rows)("%s", (_, change, names) => {
  const links = linked();
  change(links);
  expect([...links.take(file(1n))].sort()).toEqual(names.sort());
  expect(links.take(file(1n))).toEqual([]);
});

test("beyond the limit they are told once, and forgotten", () => {
  let told = 0;
  const links = new UnwrittenLinks(() => told++, 1);
  for (const inode of [1n, 2n, 3n]) links.linked(file(inode), `/${inode}`, `/${inode}b`);
  expect([told, links.take(file(1n)).length, links.take(file(2n)).length]).toEqual([1, 2, 0]);
});
