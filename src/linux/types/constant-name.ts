/** Names of an enumeration's constants. */
import type { TypeTable } from "./type-table.js";

/** The name of a constant in lower case, without what begins all of them; its number, if it has none. @internal */
export function constantName(
  types: TypeTable,
  name: string,
  prefix: string,
  value: number | undefined,
): string | undefined {
  if (value === undefined) return undefined;
  const type = types.find("enum", name);
  const constant = type?.kind === "enum" ? type.nameOf(BigInt(value)) : undefined;
  return constant === undefined ? `${value}` : constant.replace(prefix, "").toLowerCase();
}
