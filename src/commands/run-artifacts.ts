// Which files are materials and products of a run. Without a trace: what was there before the command, and what differs
// after it. With one: what the build read, and what it wrote; then only outputs are looked at, and read only where the
// digest of their writer's end does not stand any more.
import { productsOf } from "../attestors/product.ts";
import { directoryHashes, type RecordedFile, withDirectories } from "../attestors/recorded-files.ts";
import { lookAt, type Walk, type WalkOptions, walk } from "../facts/walk.ts";
import type { Glob } from "../glob.ts";
import { escapeBytes, unescapeText } from "../text.ts";
import { TracedProducts, tracedMaterials } from "../trace/artifacts.ts";
import type { TraceFiles } from "../trace/observation.ts";
import {
  type FactsBefore,
  missedContents,
  reportUnread,
  type Span,
  timed,
  unlistedPaths,
  type Warn,
  walkIn,
  walkOptions,
} from "./run-facts.ts";
import { ownPaths, type RunPlan } from "./run-plan.ts";

/** What is known of a traced run's files. */
export interface TracedFiles {
  readonly files: TraceFiles;
  readonly isCache: Glob;
}

export interface Artifacts {
  readonly materials: readonly RecordedFile[];
  readonly products: readonly RecordedFile[];
  /** Paths that should be among them, and could not be read. */
  readonly unlisted: readonly string[];
  /** When products were looked at. */
  readonly time: Span;
}

export interface ArtifactsInput {
  readonly before: FactsBefore;
  /** Undefined without a trace. */
  readonly traced: TracedFiles | undefined;
  /** Of the command. */
  readonly startTime: bigint;
}

export function artifactsOf(plan: RunPlan, input: ArtifactsInput, warn: Warn): Artifacts {
  const { before, traced } = input;
  const [found, time] = timed(() =>
    traced === undefined ? walkedProducts(plan, input) : tracedProducts(plan, input, traced.files),
  );
  const isKnown = new Set(before.unread.map(({ path }) => path));
  reportUnread(
    found.unread.filter(({ path }) => !isKnown.has(path)),
    " after the command",
    warn,
  );
  const hashes = directoryHashes(before.walk);
  // A file less in it makes another directory too, without any file that was written.
  const differs = (path: string, hash: string) => hashes.has(path) && hashes.get(path) !== hash;
  const products = withDirectories(found.products, found.walk, differs).filter(({ path }) => isChosen(plan, path));
  const { named } = plan.options.products;
  if (named !== undefined && !products.some(({ path }) => named(path))) {
    warn(
      "warning",
      "--product-glob names no file that the command has written; the whole path must match, and outside of the working directory it is absolute",
    );
  }
  return {
    materials: traced === undefined ? before.materials : materialsOf(plan, before, traced.files),
    products: traced === undefined ? products : products.map(file => labelled(file, traced.isCache, plan)),
    unlisted: unlistedPaths([...before.unread, ...found.unread]),
    time,
  };
}

interface FoundProducts {
  products: readonly RecordedFile[];
  /** Of the working directory. */
  walk: Walk;
  unread: Walk["unread"];
}

function walkedProducts(plan: RunPlan, { before, startTime }: ArtifactsInput): FoundProducts {
  const after = walkIn(before, { ...walkOptions(plan), earlier: before.walk });
  return { products: productsOf(before.walk, after, startTime), walk: after, unread: after.unread };
}

function tracedProducts(plan: RunPlan, { before, startTime }: ArtifactsInput, files: TraceFiles): FoundProducts {
  const products = new TracedProducts(files, { workingDirectory: before.directory, startTime });
  const chosen = new Set<string>();
  const options: WalkOptions = {
    ...walkOptions(plan),
    isWanted: file => {
      const isProduct = products.isProduct(file);
      if (isProduct) chosen.add(file.path);
      return isProduct;
    },
    mayCount: (path, inode) => products.mayBeProduct(path, inode),
    known: file => products.digestOf(file),
  };
  const inside = walkIn(before, { ...options, earlier: before.walk });
  const seen = new Set([...inside.files, ...inside.unread].map(({ path }) => path));
  const { named } = plan.options.products;
  const others = lookAt(
    products.elsewhere(seen, path => named?.(path) === true),
    options,
  );
  const hidden = inside.unread.filter(({ path, what }) => what === "entry" && products.isInUpper(path));
  const uppers = named === undefined ? [] : products.uppersElsewhere().map(path => inUpper(path, { options, named, products }));
  const listed = new Set(others.files.map(({ path }) => path));
  return {
    products: [
      ...inside.files.filter(({ path }) => chosen.has(path)),
      ...others.files.map(file => shownIn(before, file)),
      ...uppers.flatMap(({ files }) => files.filter(({ path }) => !listed.has(path))),
    ],
    walk: inside,
    unread: [...missedContents(inside), ...hidden, ...others.unread, ...uppers.flatMap(({ unread }) => unread)],
  };
}

/** What was made through an overlay and is named, in an upper directory outside of the working directory. */
function inUpper(
  upper: string,
  { options, named, products }: { options: WalkOptions; named: Glob; products: TracedProducts },
): Walk {
  const absolute = (path: string) => `${upper}/${path}`;
  const { isOneEntry: _, mayCount: __, known: ___, ...rest } = options;
  const isWanted: WalkOptions["isWanted"] = ({ target, ...file }) =>
    target === undefined && named(absolute(file.path)) && products.isProduct({ ...file, path: absolute(file.path) });
  const found = walk(unescapeText(upper), { ...rest, isWanted });
  const shown = <F extends { path: string }>(file: F): F => ({ ...file, path: absolute(file.path) });
  return { ...found, files: found.files.map(shown), unread: found.unread.map(shown) };
}

/** An output below the working directory that the walk could not come to has its path as the others have. */
function shownIn({ directory }: FactsBefore, file: RecordedFile): RecordedFile {
  const prefix = directory === "/" ? "/" : `${directory}/`;
  return file.path.startsWith(prefix) ? { ...file, path: file.path.slice(prefix.length) } : file;
}

function materialsOf(plan: RunPlan, { directory, walk: before }: FactsBefore, files: TraceFiles): RecordedFile[] {
  const own = new Set(ownPaths(plan).map(escapeBytes));
  const keys = plan.signer.kind === "file" ? plan.signer.key.files : [];
  const read = tracedMaterials(
    files,
    directory,
    ({ path, device, inode }) => own.has(path) || keys.some(key => key.device === device && key.inode === inode),
  );
  return withDirectories(read, before, () => false);
}

/** By the flags. Outside of the working directory only what is named. */
function isChosen({ options }: RunPlan, path: string): boolean {
  const { include, exclude, named } = options.products;
  if (exclude?.(path)) return false;
  if (named?.(path)) return true;
  return !path.startsWith("/") && (include?.(path) ?? true);
}

function labelled(file: RecordedFile, isCache: Glob, { options }: RunPlan): RecordedFile {
  return isCache(file.path) && !options.products.named?.(file.path) ? { ...file, isCache: true } : file;
}
