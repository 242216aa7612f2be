// What the existing Go tools (witness, and the cilock that is written in Go) have and this one has not, with what to use
// instead: whoever comes from them should not have to guess. docs/from-witness.md is made of the same sentences, which a
// test compares.

/** What to do instead, by names of flags; a name that ends in `*` stands for all that begin so. */
export interface Replaced {
  readonly names: readonly string[];
  readonly instead: string;
}

export const replacedFlags: readonly Replaced[] = [
  {
    names: ["enable-archivista", "archivista-*"],
    instead: "leave it out and upload the file of --outfile with Archivista's own client: cilock makes no connection",
  },
  {
    names: ["timestamp-servers", "vsa-timestamp-servers"],
    instead: "leave it out: no timestamp is asked for, since cilock makes no connection",
  },
  { names: ["offline", "platform-url"], instead: "leave it out: cilock makes no connection" },
  { names: ["config"], instead: "give the flags on the command line: there is no configuration file" },
  {
    names: ["log-level", "debug-cpu-profile-file", "debug-mem-profile-file", "help-advanced"],
    instead: "leave it out: there is no log; warnings and errors are on stderr",
  },
  {
    names: ["signer-fulcio-*", "signer-kms-*", "signer-vault-*", "signer-spiffe-*"],
    instead: "sign with a key in a file (--signer-file-key-path) or one for this run (--signer-ephemeral)",
  },
  {
    names: ["signer-file-cert-path", "signer-file-intermediate-paths"],
    instead: "leave it out: a record holds no certificate, and is verified with the public key",
  },
  { names: ["capture-mode"], instead: "use --trace, or leave it out to compare the directory before and after" },
  { names: ["ignore-command-exit-code"], instead: "leave it out: a failed command is always recorded" },
  {
    names: ["hardening", "require-zero-drops"],
    instead: "leave it out: nothing is dropped, and cilock verify --require-complete refuses a record with gaps",
  },
  { names: ["diagnose"], instead: "use cilock doctor" },
  {
    names: ["validate-only", "workload", "no-default-attestor", "prewalk-*", "env-capture-allowlist"],
    instead: "leave it out: there is nothing like it here",
  },
  { names: ["output-format"], instead: "use --json" },
  {
    names: ["attestor-*"],
    instead:
      "leave it out: cilock attestors lists the attestors; product-include-glob and product-exclude-glob are all their flags",
  },
  {
    names: ["policy", "policy-*", "no-embedded-trust", "trust-discovery", "verifier-kms-*"],
    instead:
      "name what must hold: --publickey, --step, --artifactfile, --require-success, --require-complete; no policy is read here",
  },
  { names: ["attestations"], instead: "name the record by itself: cilock verify RECORD" },
  { names: ["directory-path"], instead: "name each file with --artifactfile" },
  {
    names: ["bundle", "output-bundle", "vsa-outfile"],
    instead: "leave it out: cilock verify takes one record and prints its findings, with --format json for programs",
  },
];

/** As far as they are no flag of ours: the letter of a Go flag, by command. */
const letters: ReadonlyMap<string, string> = new Map([
  ["a", "attestations"],
  ["c", "config"],
  ["l", "log-level"],
  ["p", "policy"],
  ["t", "timestamp-servers"],
]);

export const replacedCommands: readonly Replaced[] = [
  { names: ["policy"], instead: "write the policy by hand and sign it with cilock sign; no policy is read here" },
  { names: ["attest"], instead: "use cilock run" },
  { names: ["plan", "tools"], instead: "use cilock attestors to see what is recorded" },
  { names: ["bundle"], instead: "a record is one file" },
  { names: ["login", "logout", "whoami", "use", "trust"], instead: "there is no account: cilock makes no connection" },
  { names: ["completion", "license"], instead: "there is nothing like it here" },
];

/** `name` without dashes; undefined: it is none of theirs. */
export function insteadOfFlag(name: string): string | undefined {
  return insteadOf(replacedFlags, letters.get(name) ?? name, "flag");
}

export function insteadOfCommand(name: string): string | undefined {
  return insteadOf(replacedCommands, name, "command");
}

function insteadOf(table: readonly Replaced[], name: string, what: string): string | undefined {
  const matches = (known: string) => (known.endsWith("*") ? name.startsWith(known.slice(0, -1)) : name === known);
  const found = table.find(({ names }) => names.some(matches));
  return found && `this is a ${what} of the Go tools: ${found.instead} (docs/from-witness.md)`;
}
