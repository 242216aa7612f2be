// Where the passphrase of a signing key comes from (wire-formats 1.5): the flag, else the file, else the environment.
import { ToolError } from "../errors.ts";

/** In the order in which they are looked at. The command that is run must not get them. */
export const passphraseVariables = ["AFLOCK_KEY_PASSPHRASE", "WITNESS_KEY_PASSPHRASE"] as const;

export interface PassphraseOptions {
  /** `--signer-file-key-passphrase` */
  passphrase?: string | undefined;
  /** `--signer-file-key-passphrase-path` */
  passphrasePath?: string | undefined;
}

/** Undefined where there is none; an empty one is none. `readFile` reads the file of the path flag. */
export async function readPassphrase(
  options: PassphraseOptions,
  environment: { readonly [name: string]: string | undefined },
  readFile: (path: string) => Promise<Uint8Array>,
): Promise<Uint8Array | undefined> {
  if (options.passphrase !== undefined && options.passphrase !== "") return Buffer.from(options.passphrase);
  if (options.passphrasePath !== undefined && options.passphrasePath !== "") {
    const line = onlyLine(await readFile(options.passphrasePath), options.passphrasePath);
    if (line.length > 0) return line;
  }
  for (const name of passphraseVariables) {
    const value = environment[name];
    if (value !== undefined && value !== "") return Buffer.from(value);
  }
  return undefined;
}

/** Bytes, not text: a passphrase need not be UTF-8. */
function onlyLine(bytes: Uint8Array, path: string): Uint8Array {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  const line = bytes.subarray(0, end);
  if (line.includes(0x0a) || line.includes(0x0d)) throw new ToolError("key-passphrase", `${path} holds more than one line`);
  return line;
}
