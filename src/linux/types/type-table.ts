/** A collection of C types by name: what a kernel's BTF holds, or a file that describes one. */
import { MemtoolError } from "../../io/index.js";
import type { CType } from "./c-type.js";

/** Namespaces of names in C: those with a tag, and the rest. */
export type TypeKind = "struct" | "union" | "enum" | "name";

/** Types by name. */
export interface TypeTable {
  /** What it is, for messages: "the kernel's BTF". */
  readonly name: string;
  /** Bytes of a pointer. */
  readonly pointerSize: 4 | 8;
  readonly littleEndian: boolean;
  /**
   * The first type of a name; one that is only declared only if nothing defines it. "name" finds typedefs and what has its
   * name from the language, such as `unsigned int`.
   */
  find(kind: TypeKind, name: string): CType | undefined;
  /** Whether a variable is known with its type (`init_task`); few tables have them. */
  variable(name: string): CType | undefined;
  /** Bytes from the beginning of the section of per-CPU variables to one of them; only BTF tells those. */
  perCpuOffset?(name: string): number | undefined;
  /** Every named type once, in the table's order. */
  all(): Iterable<NamedType>;
}

/** A type under its name. */
export interface NamedType {
  readonly kind: TypeKind;
  readonly name: string;
  readonly type: CType;
}

/** What is wrong with types: `part` says where (a section, a type's number, a member's name). */
export class TypesError extends MemtoolError {
  readonly part: string;
  constructor(
    code: "BTF" | "ISF" | "NO_TYPES" | "NO_TYPE" | "NO_MEMBER" | "BAD_TYPE_NAME",
    part: string,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(code, message, options);
    this.part = part;
  }
}
