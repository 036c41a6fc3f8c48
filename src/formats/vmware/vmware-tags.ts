/**
 * VMware's snapshot state (`.vmss` of a suspended machine, `.vmsn` of a snapshot): groups of tags.
 *
 * Layout: VMware's own reader in crash (vmware_vmss.h and .c: `struct cptdumpheader`, `struct cptgroupdesc`, TAG_…), and
 * Volatility's vmware address space, which also knows the older form with 32-bit block sizes. A tag is its flags (6 bits
 * size, 2 bits number of indices), the length of its name, the name, its indices, and its value; a size of 63 means a block
 * of any length, 62 a compressed one, with its sizes and padding before it. A tag of two zero bytes ends a group.
 */
import { hex, type Routine } from "../../io/index.js";
import { FormatError, type Warnings } from "../errors.js";
import { Fields, readStructure } from "../fields.js";
import type { DumpFile } from "../types.js";

const HEADER_SIZE = 12;
const GROUP_SIZE = 80;
const NAME_SIZE = 64;
/** A hundred or so have been seen. */
const MAX_GROUPS = 4096;
/** Tags that are looked at, of all groups of a kind together: any number of groups may lie at the same place. */
const MAX_TAGS = 1_000_000;
const COMPRESSED = 62;
const BLOCK = 63;
/** The longest tag without its block: flags, name, indices, sizes and padding or a value. */
const MAX_TAG = 2 + 255 + 12 + 61;
const WINDOW = 16_384;

/** First words of the file, as crash and Volatility list them. */
const MAGICS: readonly number[] = [0xbed0bed0, 0xbed2bed0, 0xbed2bed2, 0xbed3bed3, 0xbad1bad1, 0xbad2bad2];

/** Whether a file that begins so is a snapshot state. */
export function isVmwareSnapshot(head: Uint8Array): boolean {
  if (head.length < 4) return false;
  return MAGICS.includes(new DataView(head.buffer, head.byteOffset).getUint32(0, true));
}

/** A group of tags. */
export interface VmwareGroup {
  readonly name: string;
  /** File offset of its first tag; `undefined` if it is 2^53 or more. */
  readonly tagsAt: number | undefined;
}

/** What the header says. */
export interface VmwareHeader {
  readonly magic: number;
  readonly version: number;
  readonly groups: readonly VmwareGroup[];
  /** Bytes of a block's sizes: 4 in the older form. */
  readonly sizeBytes: 4 | 8;
}

/** Reads the header and the table of groups. @throws {FormatError} */
export function* readVmwareHeader(file: DumpFile, warnings: Warnings): Routine<VmwareHeader> {
  const header = new Fields(file.name, 0, yield* readStructure(file, 0, HEADER_SIZE, "snapshot header"));
  const magic = header.u32(0);
  if (!MAGICS.includes(magic)) {
    header.malformed(0, "id", `${hex(magic)} begins no snapshot state of VMware`);
  }
  const claimed = header.u32(8);
  const room = Math.floor((file.size - HEADER_SIZE) / GROUP_SIZE);
  if (claimed > room || claimed > MAX_GROUPS) {
    warnings.add(
      `${file.name}: numgroups is ${claimed}: only ${Math.min(room, MAX_GROUPS)} groups are read, ` +
        `${room <= MAX_GROUPS ? "for which the file has room" : "since there are never so many"}`,
    );
  }
  const count = Math.min(claimed, room, MAX_GROUPS);
  const table = new Fields(
    file.name,
    HEADER_SIZE,
    yield* readStructure(file, HEADER_SIZE, count * GROUP_SIZE, "groups"),
  );
  const groups: VmwareGroup[] = [];
  for (let i = 0; i < count; i++) {
    groups.push({
      name: table.text(i * GROUP_SIZE, NAME_SIZE),
      tagsAt: table.safe(i * GROUP_SIZE + NAME_SIZE),
    });
  }
  return { magic, version: header.u32(4), groups, sizeBytes: (magic & 0xf) === 0 ? 4 : 8 };
}

/** A tag: where its data are. */
export interface VmwareTag {
  readonly name: string;
  readonly indices: readonly number[];
  /** File offset of the data, and their length in the file in bytes. */
  readonly dataAt: number;
  readonly size: number;
  readonly kind: "value" | "block" | "compressed";
  /** A value of up to 8 bytes. */
  readonly value: bigint | undefined;
}

/** How many more tags are read. */
export interface TagBudget {
  left: number;
}

/** A budget for all groups of a kind. */
export function tagBudget(): TagBudget {
  return { left: MAX_TAGS };
}

/** Reads the tags of a group one after the other. Each begins behind the one before, so there is an end. */
export class TagReader {
  readonly #file: DumpFile;
  readonly #sizeBytes: 4 | 8;
  #at: number;
  #window = new Fields("", 0, new Uint8Array(0));
  #windowAt = 0;
  readonly #budget: TagBudget;
  /** Why the tags ended before their end was marked; `undefined` while they did not. */
  cut: string | undefined;

  /**
   * @param at     File offset of the first tag.
   * @param budget Shared by readers that one file can make any number of.
   */
  constructor(file: DumpFile, header: VmwareHeader, at: number, budget = tagBudget()) {
    this.#file = file;
    this.#sizeBytes = header.sizeBytes;
    this.#at = at;
    this.#budget = budget;
  }

  /** The next tag; `undefined` behind the last, and where nothing more can be read (then `cut` says why). */
  *next(): Routine<VmwareTag | undefined> {
    const start = this.#at;
    if (this.#budget.left-- <= 0) return this.#stop(`there are more than ${MAX_TAGS} tags`);
    if (!(start + 2 <= this.#file.size)) return this.#stop(`the file ends at ${hex(this.#file.size)}`);
    const windowEnd = this.#windowAt + this.#window.bytes.length;
    if (start < this.#windowAt || (start + MAX_TAG > windowEnd && windowEnd < this.#file.size)) {
      try {
        const length = Math.min(WINDOW, this.#file.size - start);
        const bytes = yield* readStructure(this.#file, start, length, "tags");
        this.#window = new Fields(this.#file.name, start, bytes);
        this.#windowAt = start;
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        return this.#stop(error.message);
      }
    }
    return this.#parse(start);
  }

  #parse(start: number): VmwareTag | undefined {
    const fields = this.#window;
    const base = start - this.#windowAt;
    const room = fields.bytes.length - base;
    const flags = fields.u8(base);
    const nameLength = fields.u8(base + 1);
    if (flags === 0 && nameLength === 0) return undefined;
    const indexCount = flags >> 6;
    const size = flags & 0x3f;
    const isBlock = size === BLOCK || size === COMPRESSED;
    const fixed = 2 + nameLength + 4 * indexCount;
    const more = isBlock ? 2 * this.#sizeBytes + 2 : size;
    if (fixed + more > room) return this.#stop(`the file ends at ${hex(this.#file.size)}, in a tag`);
    const name = fields.text(base + 2, nameLength);
    const indices: number[] = [];
    for (let i = 0; i < indexCount; i++) indices.push(fields.u32(base + 2 + nameLength + 4 * i));
    if (!isBlock) {
      this.#at = start + fixed + size;
      const value = size <= 8 ? littleEndian(fields, base + fixed, size) : undefined;
      return { name, indices, dataAt: start + fixed, size, kind: "value", value };
    }
    const stored = this.#sizeBytes === 4 ? fields.u32(base + fixed) : fields.safe(base + fixed);
    const padding = fields.u16(base + fixed + 2 * this.#sizeBytes);
    const dataAt = start + fixed + more + padding;
    if (stored === undefined || dataAt + stored > Number.MAX_SAFE_INTEGER) {
      return this.#stop(
        `the block "${name}" at ${hex(start)} has a size of ${hex(fields.u64(base + fixed))}`,
      );
    }
    this.#at = dataAt + stored;
    const kind = size === BLOCK ? "block" : "compressed";
    return { name, indices, dataAt, size: stored, kind, value: undefined };
  }

  #stop(why: string): undefined {
    this.cut = why;
    return undefined;
  }
}

function littleEndian(fields: Fields, at: number, size: number): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(fields.u8(at + i));
  return value;
}
