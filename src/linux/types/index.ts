/** C types of kernels. @module */

export { Btf, type BtfOptions } from "./btf/btf.js";
export * from "./c-type.js";
export { findMember, findPlace, type Place } from "./member-path.js";
export { typeNamed } from "./type-name.js";
export { type NamedType, type TypeKind, TypesError, type TypeTable } from "./type-table.js";
