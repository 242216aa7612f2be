// The commands, as `cilock --help` lists them. Each is loaded when it is called: nearly all of the time to start is spent
// on importing modules. In the compiled program `import` runs code that is there already: it cannot fail.
import type { CommandEntry } from "./command.ts";

export const commands: readonly CommandEntry[] = [
  {
    name: "run",
    summary: "run a command and sign a record of it",
    load: async () => (await import("./run.ts")).runCommand,
  },
  {
    name: "verify",
    summary: "check a record against its signer's key",
    load: async () => (await import("./verify.ts")).verifyCommand,
  },
  {
    name: "show",
    summary: "print what a record says",
    load: async () => (await import("./show.ts")).showCommand,
  },
  {
    name: "sign",
    summary: "sign a file, such as a policy",
    load: async () => (await import("./sign.ts")).signCommand,
  },
  {
    name: "keygen",
    summary: "make a key to sign with",
    load: async () => (await import("./keygen.ts")).keygenCommand,
  },
  {
    name: "keyid",
    summary: "print the ids of keys",
    load: async () => (await import("./keyid.ts")).keyidCommand,
  },
  {
    name: "attestors",
    summary: "list the attestors",
    load: async () => (await import("./attestors.ts")).attestorsCommand,
  },
  {
    name: "doctor",
    summary: "say whether a build can be traced here",
    load: async () => (await import("./doctor.ts")).doctorCommand,
  },
  {
    name: "version",
    summary: "print the version",
    load: async () => (await import("./version.ts")).versionCommand,
  },
];
