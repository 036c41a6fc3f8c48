/** Page descriptors of a kdump file: read in blocks when a page is first asked for, and kept. */
import { type Fault, sendKept } from "../../io/index.js";
import { Fetch, type Want } from "../fetch.js";
import type { KdumpLayout, KdumpPart } from "./kdump-layout.js";
import { DESCRIPTOR_SIZE } from "./kdump-page-desc.js";
import { PageStore } from "./page-store.hot.js";

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
  /** What the block is kept under, and the row in its file that it begins with. */
  readonly block: number;
  readonly first: number;
  readonly #owner: KdumpDescriptors;
  /** pfn, row and want of each page that waits. */
  readonly pfns: number[] = [];
  readonly rows: number[] = [];
  readonly wants: Want[] = [];

  constructor(owner: KdumpDescriptors, block: number, first: number, count: number) {
    super(count * DESCRIPTOR_SIZE);
    this.#owner = owner;
    this.block = block;
    this.first = first;
  }

  add(pfn: number, row: number, want: Want): void {
    this.pfns.push(pfn);
    this.rows.push(row);
    this.wants.push(want);
  }

  protected handle(): void {
    this.#owner.came(this, (row) => {
      const at = (row - this.first) * DESCRIPTOR_SIZE;
      return this.faultIn(at, at + DESCRIPTOR_SIZE);
    });
  }
}

/** See the module's comment. */
export class KdumpDescriptors {
  readonly #layout: KdumpLayout;
  readonly #user: DescriptorUser;
  readonly #kept = new PageStore(DESCRIPTORS * DESCRIPTOR_SIZE, DESCRIPTOR_BYTES);
  readonly #fetching = new Map<number, DescriptorFetch>();
  /** The first block of each file: blocks count through all of them. */
  readonly #firstBlocks = new Map<KdumpPart, number>();

  constructor(layout: KdumpLayout, user: DescriptorUser) {
    this.#layout = layout;
    this.#user = user;
    let block = 0;
    for (const part of layout.parts.list) {
      this.#firstBlocks.set(part, block);
      block += Math.ceil(part.described / DESCRIPTORS);
    }
  }

  /** Has `readPage` of its user called: at once, or when the descriptor has come from the file. */
  read(pfn: number, want: Want): void {
    const { parts, stored } = this.#layout;
    const part = parts.of(pfn);
    const row = stored.rank(pfn) - part.firstRank;
    const first = row - (row % DESCRIPTORS);
    const block = (this.#firstBlocks.get(part) as number) + first / DESCRIPTORS;
    const found = this.#kept.find(block);
    if (found >= 0) {
      const at = found + (row - first) * DESCRIPTOR_SIZE;
      this.#user.readPage(pfn, want, this.#kept.memory, at);
      return;
    }
    want.view.keep();
    const under = this.#fetching.get(block);
    if (under !== undefined) {
      under.add(pfn, row, want);
      return;
    }
    const fetch = new DescriptorFetch(this, block, first, Math.min(DESCRIPTORS, part.described - first));
    fetch.add(pfn, row, want);
    this.#fetching.set(block, fetch);
    fetch.send(part.file, part.descriptorsAt + first * DESCRIPTOR_SIZE);
  }

  /** @internal */
  came(fetch: DescriptorFetch, faultOf: (row: number) => Fault): void {
    this.#user.enter();
    const { bytes } = fetch.packet;
    this.#fetching.delete(fetch.block);
    if (fetch.packet.firstFault === 0) this.#kept.put(fetch.block, bytes);
    for (let i = 0; i < fetch.wants.length; i++) {
      const want = fetch.wants[i] as Want;
      const row = fetch.rows[i] as number;
      const why = faultOf(row);
      if (why !== 0) {
        fetch.fail(want.view, why);
        continue;
      }
      const pfn = fetch.pfns[i] as number;
      // (It sends a page that is stored as it is on to the file.)
      sendKept(want.view, () => this.#user.readPage(pfn, want, bytes, (row - fetch.first) * DESCRIPTOR_SIZE));
    }
    this.#user.leave();
  }
}
