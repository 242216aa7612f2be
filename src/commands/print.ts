// What a command prints for a reader, as opposed to what it makes (a record): a reader that has seen enough (`| head`)
// is no error, and the exit status stays what the command found.
import { ToolError } from "../errors.ts";
import type { CommandIo } from "./command.ts";

export async function print(io: CommandIo, text: string): Promise<void> {
  try {
    await io.stdout(text);
  } catch (error) {
    if (!(error instanceof ToolError && error.code === "output-unread")) throw error;
  }
}
