// Errors that are for the person in front of the terminal: a code from a closed list, one sentence,
// and what to do about it. The exit status of each code stands in one table; tests assert codes.

/** Exit status of each error code. 2 usage; 126/127 as a shell has them; 125 we failed; 1, 3 to 6 verdicts of verify. */
export const exitStatus = {
  usage: 2,
  "command-not-found": 127,
  "command-not-executable": 126,
  "key-unreadable": 125,
  "key-unsupported": 125,
  "key-passphrase": 125,
  "outfile-unwritable": 125,
  "output-unwritable": 125,
  "output-unread": 125,
  "output-lost": 125,
  "working-directory": 125,
  "input-unreadable": 125,
  "input-malformed": 125,
  "tracing-impossible": 125,
  "tracer-failed": 125,
  "trace-lost": 125,
  "command-not-started": 125,
  "interrupted-twice": 125,
  "library-mismatch": 125,
  internal: 125,
  "signature-refused": 1,
  "subject-missing": 3,
  "record-incomplete": 4,
  "policy-refused": 5,
  "command-failed": 6,
} as const;

export type ErrorCode = keyof typeof exitStatus;

/** Printed as `cilock: error: MESSAGE` and, with a hint, `cilock: hint: HINT`. Lower case, no full stop, names the flag or the file. */
export class ToolError extends Error {
  readonly hint: string | undefined;
  readonly #status: number | undefined;

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** `status`: only where the table cannot know it, as 128 + n after signal n. */
    options: { hint?: string; cause?: unknown; status?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ToolError";
    this.hint = options.hint;
    this.#status = options.status;
  }

  get exitStatus(): number {
    return this.#status ?? exitStatus[this.code];
  }
}
