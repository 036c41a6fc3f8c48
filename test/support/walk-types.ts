/** Looks at all of types as a user would, each once: nothing may throw, whatever the bytes were. */
import {
  type CType,
  declare,
  findPlace,
  printType,
  sizeOf,
  stripped,
  type TypeTable,
  typeName,
} from "../../src/linux/index.js";

/** @returns types that were met. */
export function walkTypes(table: TypeTable, from: Iterable<CType>): number {
  const seen = new Set<CType>();
  const open = [...from];
  for (let type = open.pop(); type !== undefined; type = open.pop()) {
    if (seen.has(type)) continue;
    seen.add(type);
    typeName(type);
    declare(type, "x");
    if (seen.size < 2000) printType(type);
    const size = sizeOf(type);
    if (!Number.isSafeInteger(size) || size < 0) throw new Error(`a size of ${size}`);
    stripped(type);
    findPlace(type, "next.prev");
    open.push(...below(type));
  }
  for (const { kind, name } of table.all()) table.find(kind, name);
  table.variable("x");
  return seen.size;
}

function below(type: CType): readonly CType[] {
  switch (type.kind) {
    case "pointer":
    case "typedef":
    case "qualified":
      return [type.target];
    case "array":
      return [type.element];
    case "struct":
    case "union":
      return type.members.map((member) => member.type);
    case "function":
      return [type.returns, ...type.parameters.map((parameter) => parameter.type)];
    default:
      return [];
  }
}
