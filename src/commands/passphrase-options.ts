// The flags that a passphrase can come by, the same for each command that reads a private key.
import { passphraseVariables } from "../attestation/passphrase.ts";
import type { Option } from "./command.ts";

/** `of`: whose passphrase, in the help. */
export function passphraseOptions(of: string): Option[] {
  return [
    {
      long: "signer-file-key-passphrase",
      kind: "string",
      value: "TEXT",
      help: `passphrase of ${of}; without these flags it is taken from ${passphraseVariables.join(" or ")}`,
    },
    { long: "signer-file-key-passphrase-path", kind: "string", value: "FILE", help: `file with the passphrase of ${of}` },
  ];
}
