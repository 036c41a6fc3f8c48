/** A core file's segments and notes, read by the ELF specification and by nothing of memtool's. */

/** A segment with memory. */
export interface CoreSegment {
  readonly address: bigint;
  readonly offset: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
  /** PF_R is 4, PF_W 2, PF_X 1. */
  readonly flags: number;
}

/** A core. */
export class CoreFile {
  readonly bytes: Buffer;
  readonly segments: CoreSegment[] = [];
  /** Types of the notes, in their order. */
  readonly notes: number[] = [];

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    const wide = bytes[4] === 2;
    const word = (at: number) => (wide ? bytes.readBigUInt64LE(at) : BigInt(bytes.readUInt32LE(at)));
    const table = Number(word(wide ? 32 : 28));
    const [size, said] = wide
      ? [bytes.readUInt16LE(54), bytes.readUInt16LE(56)]
      : [bytes.readUInt16LE(42), bytes.readUInt16LE(44)];
    const sections = Number(word(wide ? 40 : 32));
    // PN_XNUM: the first section has the number.
    const count = said === 0xffff ? bytes.readUInt32LE(sections + (wide ? 44 : 28)) : said;
    for (let i = 0; i < count; i++) {
      const at = table + i * size;
      const [offset, address, fileBytes, memoryBytes, flags] = wide
        ? [at + 8, at + 16, at + 32, at + 40, at + 4]
        : [at + 4, at + 8, at + 16, at + 20, at + 24];
      const segment = {
        address: word(address),
        offset: Number(word(offset)),
        fileBytes: Number(word(fileBytes)),
        memoryBytes: Number(word(memoryBytes)),
        flags: bytes.readUInt32LE(flags),
      };
      const type = bytes.readUInt32LE(at);
      if (type === 1) this.segments.push(segment);
      if (type === 4) this.#readNotes(segment);
    }
  }

  #readNotes({ offset, fileBytes }: CoreSegment): void {
    const up = (length: number) => Math.ceil(length / 4) * 4;
    for (let at = offset; at < offset + fileBytes; ) {
      const [name, description, type] = [0, 4, 8].map((each) => this.bytes.readUInt32LE(at + each)) as [
        number,
        number,
        number,
      ];
      this.notes.push(type);
      at += 12 + up(name) + up(description);
    }
  }

  /** Bytes of memory; `undefined` if a segment does not hold all of them. */
  read(address: bigint, length: number): Buffer | undefined {
    const found = this.segments.find(
      (each) => each.address <= address && address + BigInt(length) <= each.address + BigInt(each.fileBytes),
    );
    if (found === undefined) return undefined;
    const at = found.offset + Number(address - found.address);
    return this.bytes.subarray(at, at + length);
  }
}
