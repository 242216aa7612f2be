// The edge at which documents of others come in: JSON text to fields that a schema has checked. What is wrong is named
// by place and kind; the text itself is not repeated, since it goes to a terminal.
import type { z } from "zod";
import { ToolError } from "../errors.ts";
import { isJsonObject, JsonError, type JsonObject, type JsonValue } from "./json.ts";
import { parseJson, pickFields } from "./json-parse.ts";

/** The one object of a file. `what` is what the file should be, with its article. */
export function parseDocument(bytes: Uint8Array, what: string): JsonObject {
  if (bytes.length === 0) throw malformed(what, "it is empty");
  let value: JsonValue;
  try {
    value = parseJson(bytes);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw malformed(what, `not JSON: ${cause.message}`);
  }
  if (!isJsonObject(value)) throw malformed(what, "it is not a JSON object");
  return value;
}

/** The fields that `schema` names, found as Go finds them; all others are left alone. */
export function readFields<Shape extends z.ZodRawShape>(
  object: JsonObject,
  schema: z.ZodObject<Shape>,
  what: string,
): z.infer<z.ZodObject<Shape>> {
  const result = schema.safeParse(pickFields(object, Object.keys(schema.shape)));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw malformed(what, `${issue?.path.join(".") || "the object"} is wrong: ${issue?.message ?? ""}`.toLowerCase());
}

export function malformed(what: string, problem: string): ToolError {
  return new ToolError("input-malformed", `not ${what}: ${problem}`);
}
