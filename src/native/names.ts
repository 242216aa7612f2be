// Errors and signals of the kernel, by name and in words.
import { constants } from "node:os";

const words: Record<number, string> = {
  [constants.errno.EPERM]: "operation not permitted",
  [constants.errno.ENOENT]: "no such file or directory",
  [constants.errno.EACCES]: "permission denied",
  [constants.errno.ENOTDIR]: "not a directory",
  [constants.errno.EISDIR]: "is a directory",
  [constants.errno.ENOEXEC]: "not an executable format",
  [constants.errno.E2BIG]: "argument list too long",
  [constants.errno.ETXTBSY]: "the file is open for writing",
  [constants.errno.ENOMEM]: "out of memory",
  [constants.errno.EAGAIN]: "too many processes, or no memory",
  [constants.errno.EMFILE]: "too many open files",
  [constants.errno.ELOOP]: "too many symbolic links",
  [constants.errno.ENAMETOOLONG]: "name too long",
  [constants.errno.ENOSYS]: "not supported by this kernel",
  [constants.errno.ENOSPC]: "no space left on device",
  [constants.errno.EDQUOT]: "disk quota exceeded",
  [constants.errno.EFBIG]: "file too large",
  [constants.errno.EIO]: "input/output error",
};

/** Of several names of a number the first one counts: SIGABRT before SIGIOT. */
function byNumber(table: object): Map<number, string> {
  return new Map(
    Object.entries(table)
      .map(([name, number]): [number, string] => [Number(number), name])
      .reverse(),
  );
}

const names = byNumber(constants.errno);
const signals = byNumber(constants.signals);

export function errnoText(errno: number): string {
  return words[errno] ?? names.get(errno) ?? `errno ${errno}`;
}

export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

export function signalName(number: number): string {
  return signals.get(number) ?? `SIG${number}`;
}
