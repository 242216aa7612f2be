// Fields of records that are only shown: what is not what it should be is taken as not there.
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

export function objectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

export function objectsOf(value: JsonValue | undefined): JsonObject[] {
  return Array.isArray(value) ? value.map(objectOf) : [];
}

export function textsOf(value: JsonValue | undefined): string[] {
  return Array.isArray(value) ? value.flatMap(item => textOf(item) ?? []) : [];
}

export function textOf(value: JsonValue | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

export function numberOf(value: JsonValue | undefined): number {
  return typeof value === "number" ? value : 0;
}

export function definedNumber(value: JsonValue | undefined): number | undefined {
  return typeof value === "number" ? value : undefined;
}

export function integerOf(value: JsonValue | undefined): bigint | undefined {
  if (typeof value === "bigint") return value;
  return typeof value === "number" && Number.isInteger(value) ? BigInt(value) : undefined;
}
