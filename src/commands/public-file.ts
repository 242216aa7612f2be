// Where the public half of a private key is: `cilock keygen` writes it there, and `cilock run` looks for it there.

/** `key.pem` and `key.key` to `key.pub`; another name gets `.pub` behind it. */
export function publicFileOf(path: string): string {
  return `${path.replace(/\.(pem|key)$/, "")}.pub`;
}
