/** C types of kernels. @module */

export { Btf, type BtfOptions } from "./btf/btf.js";
export * from "./c-type.js";
export { type IsfOptions, type IsfSymbol, IsfTypes, parseIsf } from "./isf/isf.js";
export { type IsfContents, type WrittenIsfSymbol, writeIsf } from "./isf/write-isf.js";
export { findMember, findPlace, type Place } from "./member-path.js";
export { printType } from "./print-type.js";
export { typeNamed } from "./type-name.js";
export { type NamedType, type TypeKind, TypesError, type TypeTable } from "./type-table.js";
