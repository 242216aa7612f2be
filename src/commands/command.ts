// What a command is: a name, its options as a table, and a function from parsed options to an exit status. The command
// line (src/cli.ts) parses by the table, prints the help from it, and knows nothing else about a command. Before one is
// called there is only its entry, in the list of commands (src/commands/index.ts).

/** `boolean` takes no value; `optional-string` is `--name` or `--name=VALUE`, never `--name VALUE`; `strings` may be repeated. */
export type OptionKind = "string" | "strings" | "boolean" | "optional-string";

export interface Option {
  /** Without the dashes. */
  readonly long: string;
  /** One letter, without the dash. */
  readonly short?: string;
  readonly kind: OptionKind;
  /** Stands for the value in the help. */
  readonly value?: string;
  readonly help: string;
}

/** By long name. An option that was not given is absent; `optional-string` without a value is true. */
export type ParsedOptions = { readonly [long: string]: string | readonly string[] | boolean | undefined };

/** All that a command may touch of the process: nothing here is global, so that tests call `run` as the command line does. */
export interface CommandIo {
  readonly stdout: (text: string | Uint8Array) => void | Promise<void>;
  readonly stderr: (text: string) => void | Promise<void>;
  readonly environment: { readonly [name: string]: string | undefined };
  /** Colours may go there: it is a terminal, and NO_COLOR is not set. */
  readonly colour?: (stream: "stdout" | "stderr") => boolean;
}

/** A command in the list, before it is loaded. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  load(): Promise<Command>;
}

export interface Command {
  /** That of its entry. */
  readonly name: string;
  /** What follows `cilock ` in the usage lines. */
  readonly usage: readonly string[];
  /** Further paragraphs of the command's help, already wrapped. */
  readonly details?: string;
  readonly options: readonly Option[];
  /** A command line that can be typed as it stands, for the help. */
  readonly example?: string;
  /** Everything after the first positional belongs to the command that is run (`cilock run`), options included. */
  readonly restIsCommand?: boolean;
  /** Called instead of `run` when the words were refused or only help was wanted: lets go what was prepared before main. */
  readonly release?: () => void;
  /** The exit status. Refusals are thrown as ToolError. */
  run(options: ParsedOptions, positionals: readonly string[], io: CommandIo): Promise<number>;
}
