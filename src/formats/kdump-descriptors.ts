/** Page descriptors of a kdump file: read in blocks when a page is first asked for, and kept. */
import type { BoundView, Fault } from "../io/index.js";
import { Fetch, type Want } from "./kdump-fetch.js";
import { DESCRIPTOR_SIZE, type KdumpLayout } from "./kdump-layout.js";
import { PageStore } from "./page-store.hot.js";
import type { DumpFile } from "./types.js";

/** Descriptors read at once: 6 KiB, about what a read of one costs anyway. */
const DESCRIPTORS = 256;
/** Descriptors kept: enough for 680 MiB of pages in use. */
const DESCRIPTOR_BYTES = 4 * 2 ** 20;

/** Who is told what describes a page. */
export interface DescriptorUser {
  /** Called before what came is handed out, and after it: all that it asks for meanwhile is sent together. */
  enter(): void;
  leave(): void;
  /** A page's descriptor is in `bytes` at `at`. */
  readPage(pfn: number, want: Want, bytes: Uint8Array, at: number): void;
}

class DescriptorFetch extends Fetch {
  readonly first: number;
  readonly #owner: KdumpDescriptors;
  /** pfn, rank and want of each page that waits. */
  readonly pfns: number[] = [];
  readonly ranks: number[] = [];
  readonly wants: Want[] = [];

  constructor(owner: KdumpDescriptors, first: number, count: number) {
    super(count * DESCRIPTOR_SIZE);
    this.#owner = owner;
    this.first = first;
  }

  add(pfn: number, rank: number, want: Want): void {
    this.pfns.push(pfn);
    this.ranks.push(rank);
    this.wants.push(want);
  }

  protected handle(): void {
    this.#owner.came(this, (rank) => {
      const at = (rank - this.first) * DESCRIPTOR_SIZE;
      return this.faultIn(at, at + DESCRIPTOR_SIZE);
    });
  }
}

/** See the module's comment. */
export class KdumpDescriptors {
  readonly #file: DumpFile;
  readonly #layout: KdumpLayout;
  readonly #user: DescriptorUser;
  readonly #kept = new PageStore(DESCRIPTORS * DESCRIPTOR_SIZE, DESCRIPTOR_BYTES);
  readonly #fetching = new Map<number, DescriptorFetch>();

  constructor(file: DumpFile, layout: KdumpLayout, user: DescriptorUser) {
    this.#file = file;
    this.#layout = layout;
    this.#user = user;
  }

  /** Has `readPage` of its user called: at once, or when the descriptor has come from the file. */
  read(pfn: number, offset: number, view: BoundView): void {
    const rank = this.#layout.stored.rank(pfn);
    const block = Math.floor(rank / DESCRIPTORS);
    const found = this.#kept.find(block);
    if (found >= 0) {
      const at = found + (rank - block * DESCRIPTORS) * DESCRIPTOR_SIZE;
      this.#user.readPage(pfn, { offset, view }, this.#kept.memory, at);
      return;
    }
    view.keep();
    const under = this.#fetching.get(block);
    if (under !== undefined) {
      under.add(pfn, rank, { offset, view });
      return;
    }
    const first = block * DESCRIPTORS;
    const { descriptorsAt, stored } = this.#layout;
    const inFile = Math.floor((this.#file.size - descriptorsAt) / DESCRIPTOR_SIZE);
    const count = Math.min(DESCRIPTORS, stored.count - first, inFile - first);
    const fetch = new DescriptorFetch(this, first, count);
    fetch.add(pfn, rank, { offset, view });
    this.#fetching.set(block, fetch);
    fetch.send(this.#file, descriptorsAt + first * DESCRIPTOR_SIZE);
  }

  /** @internal */
  came(fetch: DescriptorFetch, faultOf: (rank: number) => Fault): void {
    this.#user.enter();
    const block = fetch.first / DESCRIPTORS;
    const { bytes } = fetch.packet;
    this.#fetching.delete(block);
    if (fetch.packet.firstFault === 0) this.#kept.put(block, bytes);
    for (let i = 0; i < fetch.wants.length; i++) {
      const want = fetch.wants[i] as Want;
      const rank = fetch.ranks[i] as number;
      const why = faultOf(rank);
      if (why !== 0) want.view.fail(why);
      else this.#user.readPage(fetch.pfns[i] as number, want, bytes, (rank - fetch.first) * DESCRIPTOR_SIZE);
    }
    this.#user.leave();
  }
}
