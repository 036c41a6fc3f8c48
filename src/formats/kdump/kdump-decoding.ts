/** Compressed pages of a kdump file that have come: decompressed one by one or together, kept, and handed to who wants them. */
import { type Fault, fault } from "../../io/index.js";
import type { PageSlab } from "../../io/page-slab.hot.js";
import type { Want } from "../fetch.js";
import type { CodecName, PagesDecoder } from "../types.js";
import type { Codec, KdumpLayout } from "./kdump-layout.js";

const NOTHING = new Uint8Array(0);

const BAD_PAGE: Fault = fault("malformed", "page", "codec");

/** A compressed page under way. */
export class PendingPage {
  readonly pfn: number;
  readonly wants: Want[];
  readonly size: number;
  readonly codec: Codec;
  /** Its compressed bytes, once they are there. */
  input: Uint8Array = NOTHING;

  constructor(pfn: number, want: Want, size: number, codec: Codec) {
    this.pfn = pfn;
    this.wants = [want];
    this.size = size;
    this.codec = codec;
  }
}

/** See the module's comment. */
export class PageDecoding {
  readonly #layout: KdumpLayout;
  readonly #slab: PageSlab;
  /** Pages that came with many others and wait to be decompressed together, from `#arrivedHead` on. */
  #arrived: PendingPage[] = [];
  #arrivedHead = 0;

  constructor(layout: KdumpLayout, slab: PageSlab) {
    this.#layout = layout;
    this.#slab = slab;
  }

  /** Whether no page waits to be decompressed. */
  get idle(): boolean {
    return this.#arrivedHead === this.#arrived.length;
  }

  /** A page has come, and waits for others. */
  add(page: PendingPage): void {
    this.#arrived.push(page);
  }

  /** Takes pages of one codec that arrived, in their order, as many as fit in one go. */
  take(): PendingPage[] {
    const most = Math.max(1, Math.floor((this.#layout.many?.bytes ?? 0) / this.#layout.blockSize));
    const codec = this.#arrived[this.#arrivedHead]?.codec;
    let end = this.#arrivedHead;
    while (
      end - this.#arrivedHead < most &&
      this.#arrived[end]?.codec === codec &&
      end < this.#arrived.length
    ) {
      end++;
    }
    const taken = this.#arrived.slice(this.#arrivedHead, end);
    this.#arrivedHead = end;
    if (end === this.#arrived.length) {
      this.#arrived = [];
      this.#arrivedHead = 0;
    }
    return taken;
  }

  /** Decompresses pages of one codec and answers with them: together, if there is enough to do. */
  decodeAll(pages: readonly PendingPage[]): void {
    const { many } = this.#layout;
    const first = pages[0];
    if (many !== undefined && first !== undefined && bytesOf(pages) >= many.worthwhile) {
      this.#decodeTogether(many, first.codec.name, pages);
    } else {
      for (const page of pages) this.decode(page);
    }
  }

  #decodeTogether(many: PagesDecoder, codec: CodecName, pages: readonly PendingPage[]): void {
    const { blockSize } = this.#layout;
    const inputs = pages.map(({ input }) => input);
    let next = 0;
    try {
      many.decode(codec, inputs, blockSize, (output, valid) => {
        while (next < pages.length) {
          const page = pages[next] as PendingPage;
          const at = next * blockSize;
          next++;
          if (valid[next - 1] === 0) this.decode(page);
          else this.#answer(page, output, at);
        }
      });
    } catch {
      // What helps may fail: then it is done without.
    }
    for (; next < pages.length; next++) this.decode(pages[next] as PendingPage);
  }

  /** Decompresses one page and answers with it. */
  decode(page: PendingPage): void {
    const { blockSize } = this.#layout;
    let output: Uint8Array | undefined;
    try {
      output = page.codec.decode(page.input, blockSize);
    } catch (error) {
      for (const { view } of page.wants) view.packet.cause ??= error;
    }
    if (output === undefined || output.length !== blockSize) {
      for (const { view } of page.wants) view.fail(BAD_PAGE);
      return;
    }
    this.#answer(page, output, 0);
  }

  /** Answers with the decompressed page, which begins at `at` in `memory`. */
  #answer({ pfn, wants }: PendingPage, memory: Uint8Array, at: number): void {
    const { base, blockSize } = this.#layout;
    const { pageSize } = this.#slab;
    const first = (base + pfn * blockSize) / pageSize;
    const pages = blockSize / pageSize;
    if (!wants.every(({ view }) => view.packet.once && view.length === blockSize)) {
      for (let i = 0; i < pages; i++) this.#slab.keep(first + i, memory, at + i * pageSize);
    }
    for (const { offset, view } of wants) view.transfer(memory, at + offset);
  }
}

function bytesOf(pages: readonly PendingPage[]): number {
  let bytes = 0;
  for (const { size } of pages) bytes += size;
  return bytes;
}
