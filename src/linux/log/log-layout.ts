/**
 * Where members of the log's structures are: VMCOREINFO says it for most (kernel/printk/printk.c, `log_buf_vmcoreinfo_setup`), so
 * that a kernel's log can be read without its types.
 */
import type { LinuxKernel } from "../kernel.js";
import { hasStruct, needStruct } from "../objects/record.js";
import { findPlace } from "../types/member-path.js";
import { TypesError, type TypeTable } from "../types/type-table.js";

/** Larger structures are not believed. */
const MAX_OFFSET = 4096;

/** Offsets and sizes by VMCOREINFO, else by the kernel's types where those have been read. */
export class LogLayout {
  readonly #kernel: LinuxKernel;
  readonly #types: TypeTable | undefined;

  constructor(kernel: LinuxKernel, types: TypeTable | undefined) {
    this.#kernel = kernel;
    this.#types = types;
  }

  /**
   * Bytes from the beginning of a structure to a member.
   *
   * @param width Bytes that are read there.
   * @throws {TypesError} `NO_MEMBER` if nothing says it, or if it lies beyond the structure's end.
   */
  offset(struct: string, member: string, width: number): number {
    const found = this.#find(struct, member);
    const size = this.size(struct);
    if (found + width <= size) return found;
    const more = `${width} bytes at ${found} are beyond its ${size}`;
    throw new TypesError("NO_MEMBER", member, `${struct}.${member} can't be where VMCOREINFO says: ${more}`);
  }

  #find(struct: string, member: string): number {
    const said = this.#kernel.vmcoreinfo.offsets.get(`${struct}.${member}`);
    if (said !== undefined && said <= MAX_OFFSET) return said;
    const types = this.#types;
    const found =
      types !== undefined && hasStruct(types, struct)
        ? findPlace(needStruct(types, struct), member)
        : undefined;
    if (found !== undefined) return Math.floor(found.bitOffset / 8);
    throw new TypesError(
      "NO_MEMBER",
      member,
      `neither VMCOREINFO nor the kernel's types have ${struct}.${member}`,
    );
  }

  /** Bytes of a structure. @throws {TypesError} `NO_TYPE`. */
  size(struct: string): number {
    const said = this.#kernel.vmcoreinfo.sizes.get(struct);
    if (said !== undefined && said > 0 && said <= MAX_OFFSET) return said;
    const size = this.#types === undefined ? undefined : needStruct(this.#types, struct).size;
    if (size !== undefined && size <= MAX_OFFSET) return size;
    throw new TypesError("NO_TYPE", struct, `neither VMCOREINFO nor the kernel's types have ${struct}`);
  }

  /** Whether a structure is known. */
  has(struct: string): boolean {
    return (
      this.#kernel.vmcoreinfo.sizes.has(struct) ||
      (this.#types !== undefined && hasStruct(this.#types, struct))
    );
  }
}
