/**
 * Nested page tables, written and walked entry by entry: from the manuals only (Intel SDM vol. 3C, 29.3.2 and tables 29-1 to
 * 29-7; AMD64 APM vol. 2, 5.3 and 15.25.5), with none of memtool's code.
 */

/** Whose processors the tables are for. */
export type NestedKind = "ept" | "npt";

/** A page of the guest. */
export interface NestedMapping {
  readonly guest: number;
  readonly host: number;
  /** 4096, 2 MiB or 1 GiB. */
  readonly size: number;
  readonly writable?: boolean;
}

const SHIFTS = [0, 12, 21, 30, 39, 48];

/** Writes tables into the bytes of a host. */
export class NestedTables {
  readonly root: number;
  /** Tables by address, with their level. */
  readonly tables = new Map<number, number>();
  readonly #view: DataView;

  /**
   * @param host     The host's memory, or a part of it.
   * @param allocate Gives the address of a free page of zeros.
   * @param base     Address of the first byte of `host`.
   */
  constructor(
    readonly host: Uint8Array,
    readonly kind: NestedKind,
    readonly levels: 4 | 5,
    readonly allocate: () => number,
    readonly base = 0,
  ) {
    this.#view = new DataView(host.buffer, host.byteOffset, host.length);
    this.root = allocate();
    this.tables.set(this.root, levels);
  }

  #get(at: number): bigint {
    return this.#view.getBigUint64(at - this.base, true);
  }

  #set(at: number, entry: bigint): void {
    this.#view.setBigUint64(at - this.base, entry, true);
  }

  /** Address of a guest's entry in a table of a level. */
  #at(table: number, level: number, guest: number): number {
    return table + 8 * Number((BigInt(guest) >> BigInt(SHIFTS[level] as number)) & 511n);
  }

  /** Address of the entry of a level on the way to a guest's address; tables are made, unless something is in their way. */
  entryAt(guest: number, level: number): number | undefined {
    let table = this.root;
    for (let at = this.levels; at > level; at--) {
      const place = this.#at(table, at, guest);
      const entry = this.#get(place);
      if (entry === 0n) {
        const next = this.allocate();
        this.tables.set(next, at - 1);
        // EPT: readable, writable, executable. NPT: present, writable, user, accessed.
        this.#set(place, BigInt(next) | (this.kind === "ept" ? 0x7n : 0x27n));
        table = next;
      } else {
        table = Number(entry & 0xf_ffff_ffff_f000n);
        if (this.tables.get(table) !== at - 1 || (entry & 0x80n) !== 0n) return undefined;
      }
    }
    return this.#at(table, level, guest);
  }

  /** Maps a page. @returns false if something is mapped there. */
  map({ guest, host, size, writable = true }: NestedMapping): boolean {
    const level = size === 4096 ? 1 : size === 2 ** 21 ? 2 : 3;
    const place = this.entryAt(guest, level);
    if (place === undefined || this.#get(place) !== 0n) return false;
    // EPT: write-back (6), executable. NPT: present, user, accessed, dirty.
    const flags = this.kind === "ept" ? 0x35n | (writable ? 2n : 0n) : 0x65n | (writable ? 2n : 0n);
    this.#set(place, BigInt(host) | flags | (level > 1 ? 0x80n : 0n));
    return true;
  }

  /** Sets the entry of a level as it is. */
  set(guest: number, level: number, entry: bigint): void {
    const place = this.entryAt(guest, level);
    if (place !== undefined) this.#set(place, entry);
  }

  /** Walks to a guest's address. @param readable Whether a page of the host can be read. */
  walk(guest: number, readable: (host: number) => boolean): NestedOutcome {
    let table = this.root;
    let writable = true;
    for (let level: number = this.levels; ; level--) {
      if (!readable(table)) return { state: "table-missing", level };
      const entry = this.#get(this.#at(table, level, guest));
      const absent = this.kind === "ept" ? (entry & 7n) === 0n : (entry & 1n) === 0n;
      if (absent) return { state: "not-present", level };
      // Writable and not readable: an EPT misconfiguration.
      if (this.kind === "ept" && (entry & 3n) === 2n) return { state: "malformed", level };
      writable &&= (entry & 2n) !== 0n;
      if (level === 1 || (level <= 3 && (entry & 0x80n) !== 0n)) {
        const size = 2 ** (SHIFTS[level] as number);
        const page = Number(entry & 0xf_ffff_ffff_f000n);
        return { state: "mapped", host: page - (page % size) + (guest % size), size, writable };
      }
      table = Number(entry & 0xf_ffff_ffff_f000n);
    }
  }
}

/** Where a guest's address leads; `level` is that of the entry, or of the table that is missing. */
export type NestedOutcome =
  | { readonly state: "mapped"; readonly host: number; readonly size: number; readonly writable: boolean }
  | { readonly state: "not-present" | "malformed" | "table-missing"; readonly level: number };
