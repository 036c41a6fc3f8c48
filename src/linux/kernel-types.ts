/** Reads a kernel's own BTF. Facts: include/asm-generic/vmlinux.lds.h (`__start_BTF`, `__stop_BTF`), since 5.2 (341dfcf8d78e). */
import { hex, type Routine } from "../io/index.js";
import type { AddressSpace } from "../memory/index.js";
import { MAX_BTF } from "./types/btf/btf-header.js";
import { TypesError } from "./types/type-table.js";

/** Read at a time: what is not there ends it early. */
const PIECE = 1 << 20;
/** (They are kept here.) */
const ONCE = { once: true };
/** Taken at once, as most kernels' is no longer: the system gives memory as it is written. */
const FIRST_ROOM = 8 << 20;

/**
 * Reads the bytes from `start` to `end` (exclusive) of a BTF.
 *
 * @throws {TypesError} `BTF` if there are too many, or one can't be read.
 */
export function* readBtf(
  memory: AddressSpace,
  start: bigint,
  end: bigint,
  what: string,
): Routine<Uint8Array> {
  const length = Number(end - start);
  if (!(length > 0 && length <= MAX_BTF)) {
    throw new TypesError(
      "BTF",
      what,
      `${what} from ${hex(start)} to ${hex(end)} can't be: at most ${MAX_BTF} bytes`,
    );
  }
  let bytes = new Uint8Array(Math.min(length, FIRST_ROOM));
  for (let at = 0; at < length; at += PIECE) {
    const size = Math.min(PIECE, length - at);
    if (at + size > bytes.length) {
      // Grown by doubling, and only once what is behind could be read.
      const larger = new Uint8Array(Math.min(length, 2 * bytes.length));
      larger.set(bytes);
      bytes = larger;
    }
    const { holes } = yield* memory.readPartial(start + BigInt(at), bytes.subarray(at, at + size), ONCE);
    const hole = holes[0];
    if (hole !== undefined) {
      throw new TypesError(
        "BTF",
        what,
        `${what} can't be read at ${hex(start + BigInt(at + hole.start))} (${hole.state}); ` +
          "give the types another way (--types FILE: BTF or an ISF file of this very kernel)",
      );
    }
  }
  return bytes.length === length ? bytes : bytes.subarray(0, length);
}
