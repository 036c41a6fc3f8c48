/** Types by the names that C gives them: `task_struct`, `struct list_head *`, `char[16]`, `unsigned long`. */
import { ArrayType, type CType, PointerType, VOID } from "./c-type.js";
import { type TypeKind, TypesError, type TypeTable } from "./type-table.js";

/** Elements of an array that a name may ask for. */
const MAX_COUNT = 2 ** 40;
/** Stars and bounds behind a name. */
const MAX_SUFFIXES = 16;

/** Words that name the same type, as compilers write it in debug information (the DWARF names of gcc and clang). */
const SPELLINGS: readonly (readonly string[])[] = [
  ["long unsigned int", "unsigned long", "unsigned long int"],
  ["long int", "long", "signed long"],
  ["long long unsigned int", "unsigned long long", "unsigned long long int"],
  ["long long int", "long long", "signed long long"],
  ["short unsigned int", "unsigned short", "unsigned short int"],
  ["short int", "short", "signed short"],
  ["unsigned int", "unsigned"],
  ["int", "signed int", "signed"],
  ["_Bool", "bool"],
];

/**
 * Finds a type by name. A name without `struct`, `union` or `enum` means the structure of that name, else the union, the typedef
 * or the language's own type, the enumeration: as people say it.
 *
 * @throws {TypesError} `NO_TYPE` if there is none, `BAD_TYPE_NAME` for what is no name of a type.
 */
export function typeNamed(table: TypeTable, text: string): CType {
  const match = /^\s*(?:(struct|union|enum)\s+)?([A-Za-z_][\w ]*?)\s*((?:\*|\[\s*\d*\s*\]|\s)*)$/.exec(
    text.replace(/\b(?:const|volatile)\b/g, " "),
  );
  if (match === null) {
    throw new TypesError(
      "BAD_TYPE_NAME",
      text,
      `"${text}" is no name of a type: expected a form such as task_struct, "struct list_head *" or "char[16]"`,
    );
  }
  const [, tag, words = "", suffix = ""] = match;
  const name = words.replace(/\s+/g, " ").trim();
  const found = tag === undefined ? anyNamed(table, name) : table.find(tag as TypeKind, name);
  if (found === undefined) throw noType(table, tag === undefined ? name : `${tag} ${name}`);
  return withSuffixes(table, found, suffix, text);
}

/** The type of that name of any kind, or `undefined`. */
function anyNamed(table: TypeTable, name: string): CType | undefined {
  if (name === "void") return VOID;
  for (const kind of ["struct", "union", "name", "enum"] as const) {
    const found = table.find(kind, name);
    if (found !== undefined && found.kind !== "forward") return found;
  }
  for (const other of SPELLINGS.find((words) => words.includes(name)) ?? []) {
    const found = table.find("name", other);
    if (found !== undefined) return found;
  }
  return table.find("struct", name);
}

/** Stars come first, the bounds of arrays after them; the last bounds are the innermost array's. */
function withSuffixes(table: TypeTable, type: CType, suffix: string, text: string): CType {
  const parts = suffix.match(/\*|\[\s*\d*\s*\]/g) ?? [];
  const stars = parts.filter((part) => part === "*").length;
  const isOrdered = parts.slice(0, stars).every((part) => part === "*");
  if (!isOrdered || parts.length > MAX_SUFFIXES) {
    throw new TypesError("BAD_TYPE_NAME", text, `"${text}" is no name of a type: stars come before bounds`);
  }
  let result = type;
  for (let i = 0; i < stars; i++) {
    const target = result;
    result = new PointerType(table.pointerSize, () => target);
  }
  for (const part of parts.slice(stars).reverse()) {
    const element = result;
    const count = Number(part.slice(1, -1));
    if (count > MAX_COUNT) throw new TypesError("BAD_TYPE_NAME", text, `"${text}": too many elements`);
    result = new ArrayType(count, () => element);
  }
  return result;
}

function noType(table: TypeTable, name: string): TypesError {
  return new TypesError(
    "NO_TYPE",
    name,
    `${table.name} has no type "${name}" (types of a module are in the module's own BTF)`,
  );
}
