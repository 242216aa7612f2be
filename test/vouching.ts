// What the tests of vouchers share: a directory of files, and what a voucher says of them.
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { DigestFiles } from "../src/facts/compared-contents.ts";
import { findUndeclared, readInputsBefore } from "../src/facts/undeclared.ts";
import { Sources } from "../src/facts/vouchers/sources.ts";
import type { Candidate, Claim, Voucher } from "../src/facts/vouchers/voucher.ts";
import type { InputFile, OutputFile, UndeclaredInputs } from "../src/trace/observation.ts";

export class Tree {
  readonly path = realpathSync(mkdtempSync(join(tmpdir(), "cilock-vouch-")));

  /** Writes a file and returns its absolute path. */
  write(name: string, content: string | Uint8Array = name): string {
    const path = join(this.path, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  }

  at(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export const hashOf = (algorithm: string, content: string | Uint8Array): string =>
  createHash(algorithm).update(content).digest("hex");
export const sha256 = (content: string | Uint8Array): string => hashOf("sha256", content);

export function candidate(name: string, content: string | Uint8Array = ""): Candidate {
  return { name, sha256: sha256(content), changedNs: 0n };
}

/** Nothing was written by the build. */
export const trusting = (): Sources => new Sources({ isWritten: () => false });

/** The claim for each file, by name. */
export function claimsOf(voucher: Voucher, files: readonly (string | Candidate)[]): Map<string, Claim> {
  const candidates = files.map(file => (typeof file === "string" ? candidate(file) : file));
  const found = new Map<string, Claim>();
  voucher.vouch(candidates, (index, claim) => {
    const name = candidates[index]?.name ?? "";
    if (found.has(name)) throw new Error(`two claims for ${name}`);
    found.set(name, claim);
  });
  return found;
}

/** A file as the build has read it, which is as it is now. */
export function inputOf(path: string, content: Uint8Array = readFileSync(path)): InputFile {
  const { dev: device, ino: inode, size, mtimeNs, ctimeNs } = lstatSync(path, { bigint: true });
  const state = { device, inode, size, mtimeNs, ctimeNs };
  return { path, origin: path, digests: { sha256: sha256(content) }, state, settled: false, remote: false, isRewritten: false };
}

/** By node's own functions, on this thread. */
export const digestHere: DigestFiles = async orders =>
  orders.map(({ path, device, inode, hashes }) => {
    try {
      const name = Buffer.from(path);
      const stat = lstatSync(name, { bigint: true });
      if (stat.dev !== device || stat.ino !== inode) return undefined;
      const content = readFileSync(name);
      const values = hashes.map(hash =>
        hash.startsWith("gitoid:")
          ? hashOf(hash.slice("gitoid:".length), Buffer.concat([Buffer.from(`blob ${content.length}\0`), content]))
          : hashOf(hash, content),
      );
      return { values, state: { size: stat.size, mtimeNs: stat.mtimeNs, ctimeNs: stat.ctimeNs } };
    } catch {
      return undefined;
    }
  });

export interface Judged {
  workingDirectory: string;
  outputs?: OutputFile[];
  roots?: string[];
  processes?: number;
  digest?: DigestFiles;
  npmCache?: string;
  /** Runs after what is read before the build. */
  build?: () => void;
}

export function judge(inputs: InputFile[], options: Judged): Promise<UndeclaredInputs> {
  const before = readInputsBefore(Buffer.from(options.workingDirectory));
  options.build?.();
  return findUndeclared(
    { inputs, outputs: options.outputs ?? [] },
    {
      before,
      // No database of this machine, unless the test wants it.
      roots: options.roots ?? [`${options.workingDirectory}/no-root`],
      processes: options.processes ?? 1,
      digest: options.digest ?? digestHere,
      npmCache: options.npmCache,
    },
  );
}
