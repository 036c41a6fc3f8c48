/**
 * Dumps of large machines in sparse files, written in a moment: a dummy kernel at the bottom of RAM, page tables of
 * another root near its top, and next to nothing in between.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { deflateSync } from "node:zlib";
import { randomBits } from "./dummy-machine.js";
import { DummyKernel } from "./kernel.js";
import { writeKdump } from "./write-kdump.js";

const PAGE = 4096;
const ENTRIES = 512;

/** Where what was written can be found. */
export interface HugeDump {
  /** Root of the page tables that lie near the top. */
  readonly root: number;
  /** Pages that it maps, of which no two lie side by side. */
  readonly mapped: number;
}

/** Page tables by physical address: `leaves` tables of every second page each, behind one directory a gigabyte. */
function pageTables(at: number, leaves: number, frames: number): Map<number, Uint8Array> {
  const tables = new Map<number, Uint8Array>();
  let next = at;
  const table = (): { address: number; entries: BigUint64Array } => {
    const bytes = new Uint8Array(PAGE);
    const address = next;
    next += PAGE;
    tables.set(address, bytes);
    return { address, entries: new BigUint64Array(bytes.buffer) };
  };
  const root = table();
  const upper = table();
  root.entries[0] = BigInt(upper.address) | 7n;
  let middle = upper;
  for (let leaf = 0; leaf < leaves; leaf++) {
    if (leaf % ENTRIES === 0) {
      middle = table();
      upper.entries[leaf / ENTRIES] = BigInt(middle.address) | 7n;
    }
    const { address, entries } = table();
    middle.entries[leaf % ENTRIES] = BigInt(address) | 7n;
    for (let i = 0; i < ENTRIES; i += 2)
      entries[i] = (BigInt(((leaf * ENTRIES + i) * 7919) % frames) * 4096n) | 7n;
  }
  return tables;
}

const LEAVES = 256;
const MAPPED = (LEAVES * ENTRIES) / 2;

/** A raw image: RAM from 0 to `size`, page tables in its last MiBs. */
export function writeHugeRaw(path: string, size: number): HugeDump {
  const kernel = new DummyKernel({ textAt: 0x5000 });
  const root = size - 8 * 2 ** 20;
  const file = openSync(path, "w");
  writeSync(file, kernel.ram, 0, kernel.ram.length, 0);
  for (const [address, bytes] of pageTables(root, LEAVES, size / PAGE)) {
    writeSync(file, bytes, 0, PAGE, address);
  }
  ftruncateSync(file, size);
  closeSync(file);
  return { root, mapped: MAPPED };
}

/** Options of {@link writeHugeKdump}. */
export interface HugeKdumpOptions {
  /** Physical size. */
  readonly size: number;
  /** Pages that are in the file. */
  readonly pages: number;
  /** Pages that lie side by side, as a kernel's allocator leaves them. */
  readonly cluster: number;
}

/** A kdump-compressed dump: all of `size` is RAM, and of it `pages` all over are in the file. */
export function writeHugeKdump(path: string, { size, pages, cluster }: HugeKdumpOptions): HugeDump {
  const kernel = new DummyKernel({ textAt: 0x5000 });
  const maxPages = size / PAGE;
  const root = size - 8 * 2 ** 20;
  /** Contents by page number; of all other pages, one content. */
  const special = new Map<number, Uint8Array>();
  for (let at = 0; at < kernel.ram.length; at += PAGE)
    special.set(at / PAGE, kernel.ram.subarray(at, at + PAGE));
  for (const [address, bytes] of pageTables(root, LEAVES, maxPages)) special.set(address / PAGE, bytes);

  const stored = new Uint8Array(maxPages / 8);
  let count = 0;
  const store = (pfn: number) => {
    const bit = 1 << (pfn & 7);
    if (((stored[pfn >> 3] as number) & bit) !== 0) return;
    (stored[pfn >> 3] as number) |= bit;
    count++;
  };
  for (const pfn of special.keys()) store(pfn);
  const random = randomBits(9);
  while (count < pages) {
    const first = random() % (maxPages - cluster);
    for (let i = 0; i < cluster && count < pages; i++) store(first + i);
  }

  // The header of a small dump, with the sizes changed: descriptors begin behind the bitmaps.
  const head = writeKdump([], { maxPages: 1, vmcoreinfo: kernel.note, dumpLevel: 1 });
  const header = head.slice(0, head.length - 2 * PAGE);
  const view = new DataView(header.buffer);
  view.setUint32(436, (2 * stored.length) / PAGE, true);
  view.setUint32(440, Math.min(maxPages, 0xffffffff), true);
  view.setBigUint64(PAGE + 96, BigInt(maxPages), true);
  const descriptorsAt = header.length + 2 * stored.length;
  const dataAt = descriptorsAt + 24 * count;
  const common = new Uint8Array(deflateSync(new Uint8Array(PAGE).fill(0xab)));

  const file = openSync(path, "w");
  writeSync(file, header, 0, header.length, 0);
  writeSync(file, new Uint8Array(stored.length).fill(0xff), 0, stored.length, header.length);
  writeSync(file, stored, 0, stored.length, header.length + stored.length);
  const descriptors = new DataView(new ArrayBuffer(24 * count));
  let row = 0;
  let at = dataAt + common.length;
  for (let byte = 0; byte < stored.length; byte++) {
    for (let bits = stored[byte] as number; bits !== 0; bits &= bits - 1) {
      const pfn = byte * 8 + 31 - Math.clz32(bits & -bits);
      const bytes = special.get(pfn);
      descriptors.setBigUint64(24 * row, BigInt(bytes === undefined ? dataAt : at), true);
      descriptors.setUint32(24 * row + 8, bytes === undefined ? common.length : PAGE, true);
      descriptors.setUint32(24 * row + 12, bytes === undefined ? 1 : 0, true);
      if (bytes !== undefined) {
        writeSync(file, bytes, 0, PAGE, at);
        at += PAGE;
      }
      row++;
    }
  }
  writeSync(file, new Uint8Array(descriptors.buffer), 0, 24 * count, descriptorsAt);
  writeSync(file, common, 0, common.length, dataAt);
  closeSync(file);
  return { root, mapped: MAPPED };
}

/** A kdump-compressed dump that claims `pages` pages, of which a few are marked and none is there. */
export function writeClaimingKdump(path: string, pages: number): void {
  const bitmap = pages / 8;
  const head = writeKdump([], { maxPages: 1, dumpLevel: 1 });
  const header = head.slice(0, head.length - 2 * PAGE);
  const view = new DataView(header.buffer);
  view.setUint32(436, (2 * bitmap) / PAGE, true);
  view.setUint32(440, Math.min(pages, 0xffffffff), true);
  view.setBigUint64(PAGE + 96, BigInt(pages), true);
  const file = openSync(path, "w");
  writeSync(file, header, 0, header.length, 0);
  writeSync(file, Uint8Array.of(0x55, 0xff), 0, 2, header.length);
  ftruncateSync(file, header.length + 2 * bitmap + PAGE);
  closeSync(file);
}
