// The machine and the user, as the environment attestor and the record's `tracer` entry name them.
import { readFileSync } from "node:fs";
import { hostname, release } from "node:os";

export interface HostFacts {
  /** As Go's GOOS has it: the existing policies compare with `linux`. */
  readonly os: string;
  readonly hostname: string;
  readonly username: string;
  readonly kernelRelease: string;
}

export function readHost(): HostFacts {
  return { os: process.platform, hostname: hostname(), username: userName(), kernelRelease: release() };
}

/** From /etc/passwd, as a static Go program does: there is no libc here that could ask a directory service. Else the number. */
function userName(): string {
  const uid = String(process.getuid?.() ?? "");
  return nameInPasswd(readText("/etc/passwd"), uid) ?? uid;
}

export function nameInPasswd(passwd: string, uid: string): string | undefined {
  for (const line of passwd.split("\n")) {
    const [name, , id] = line.split(":");
    if (name !== undefined && name !== "" && id === uid) return name;
  }
  return undefined;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // An empty root directory has no such file.
    return "";
  }
}
