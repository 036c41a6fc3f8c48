/** A real dump's kernel with bytes changed or pages taken away: what damage does to lists. */
import { type Machine, open } from "../../connectors/index.js";
import { nodeGunzip } from "../../connectors/node-gunzip.js";
import type { BoundView, PacketIo } from "../../src/io/index.js";
import { fault, MemoryIo } from "../../src/io/index.js";
import { findKernel, type LinuxKernel } from "../../src/linux/index.js";

const PAGE = 4096;
/** What a read of a page that was taken away says: a filter left it out. */
const GONE = fault("excluded", "page", "format", 2);

/** Physical memory in front of which pages are replaced or taken away. */
class PatchedIo implements PacketIo<number> {
  /** Copies of changed pages, by page number. */
  readonly pages = new Map<number, MemoryIo | undefined>();
  readonly #below: PacketIo<number>;

  constructor(below: PacketIo<number>) {
    this.#below = below;
  }

  sendIo(at: number, view: BoundView): void {
    let rest: BoundView | undefined = view;
    let from = at;
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const room = PAGE - (from % PAGE);
      rest = piece.length > room ? piece.split(room) : undefined;
      const page = Math.floor(from / PAGE);
      if (!this.pages.has(page)) this.#below.sendIo(from, piece);
      else {
        const changed = this.pages.get(page);
        if (changed === undefined) piece.fail(GONE);
        else changed.sendIo(from % PAGE, piece);
      }
      from += room;
    }
  }
}

/** A kernel whose memory a test damages; `close` it. */
export class PatchedKernel {
  readonly kernel: LinuxKernel;
  readonly #machine: Machine;
  readonly #io: PatchedIo;
  readonly #bytes = new Map<number, Uint8Array>();
  #splits = 0;

  private constructor(kernel: LinuxKernel, machine: Machine, io: PatchedIo) {
    this.kernel = kernel;
    this.#machine = machine;
    this.#io = io;
  }

  /** Opens a dump that has a VMCOREINFO note. */
  static async open(path: string): Promise<PatchedKernel> {
    const machine = await open(path, { kernel: "none" });
    const { physical, image } = machine;
    if (physical === undefined) throw new Error(`${path}: no physical memory`);
    const io = new PatchedIo(physical);
    const kernel = await findKernel(io, {
      gunzip: nodeGunzip,
      map: physical.map,
      note: image?.notes.vmcoreinfo,
      architecture: image?.notes.architecture,
    });
    return new PatchedKernel(kernel, machine, io);
  }

  /** Writes a pointer into the kernel's memory. */
  async setPointer(address: bigint, value: bigint): Promise<void> {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    await this.set(address, bytes);
  }

  /** Writes bytes, within one page. */
  async set(address: bigint, bytes: Uint8Array): Promise<void> {
    const physical = await this.#physical(address);
    const page = Math.floor(physical / PAGE);
    let copy = this.#bytes.get(page);
    if (copy === undefined) {
      if (this.#machine.physical === undefined) throw new Error("no physical memory");
      copy = await this.#machine.physical.read(page * PAGE, PAGE);
      this.#bytes.set(page, copy);
      this.#io.pages.set(page, new MemoryIo(copy));
    }
    copy.set(bytes, physical % PAGE);
    this.kernel.memory.flush();
  }

  /** Undoes all that was done to the memory. (What the kernel keeps of it, such as page tables that it walked, is not read anew.) */
  restore(): void {
    this.#io.pages.clear();
    this.#bytes.clear();
    this.#splits = 0;
    this.kernel.memory.flush();
  }

  /** Takes away the page that an address lies in. */
  async remove(address: bigint): Promise<void> {
    this.#io.pages.set(Math.floor((await this.#physical(address)) / PAGE), undefined);
    this.kernel.memory.flush();
  }

  /**
   * Moves a structure to where one page ends behind its first `cut` bytes and another begins: a page of the log, which is large.
   *
   * @param link Place of the pointer to it, which is written anew.
   * @returns Its new address: `remove` of it, or of what is `cut` bytes on, takes the half of it away.
   */
  async split(link: bigint, size: number, cut: number): Promise<bigint> {
    const { memory } = this.kernel;
    const bytes = await memory.read(link, 8);
    const from = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    const log = await this.kernel.symbol("__log_buf");
    this.#splits += 2;
    const border = (log.address / BigInt(PAGE) + BigInt(this.#splits)) * BigInt(PAGE);
    const copy = await memory.read(from, size);
    await this.set(border - BigInt(cut), copy.subarray(0, cut));
    await this.set(border, copy.subarray(cut));
    await this.setPointer(link, border - BigInt(cut));
    return border - BigInt(cut);
  }

  async #physical(address: bigint): Promise<number> {
    const found = await this.kernel.memory.translate(address);
    if (!("physical" in found)) throw new Error(`0x${address.toString(16)} is not mapped`);
    return found.physical;
  }

  close(): Promise<void> {
    return this.#machine.close();
  }
}
