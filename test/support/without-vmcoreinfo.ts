/** Kernels without VMCOREINFO: a dump's memory without the pages that have its text, and without the dump's note. */
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { MemoryIo, type PacketIo } from "../../src/io/index.js";
import { type FindKernelOptions, findKernel, type Linux } from "../../src/linux/index.js";

const PAGE = 4096;
const PIECE = 1 << 20;

/** Whether a page has VMCOREINFO's text, or a note of it. */
export const hasVmcoreinfo = (page: Uint8Array): boolean =>
  Buffer.from(page.buffer, page.byteOffset, page.length).includes("OSRELEASE=");

/**
 * Finds the kernel of a dump without its note, and without the pages that are gone.
 *
 * @param options What is given beside: asked once the dump is open.
 * @param isGone  By its bytes and its physical address, the same at each call; default: those that have VMCOREINFO's text.
 */
export async function withoutVmcoreinfo(
  target: string,
  options: (machine: Machine) => Partial<FindKernelOptions>,
  use: (linux: Linux) => Promise<void>,
  isGone: IsGone = hasVmcoreinfo,
): Promise<void> {
  const machine = await open(target, { kernel: "none" });
  try {
    const { physical, image } = machine;
    if (physical === undefined) throw new Error(`${target}: no physical memory`);
    const gone = await pagesGone(target, physical, isGone);
    const found = await findKernel(blanked(physical, gone), {
      map: physical.map,
      architecture: image?.notes.architecture,
      ...options(machine),
    });
    await use(found);
  } finally {
    await machine.close();
  }
}

type IsGone = (page: Uint8Array, at: number) => boolean;

/** What was gone before, by dump: all of its memory is read to find out. */
const goneBefore = new WeakMap<IsGone, Map<string, ReadonlySet<number>>>();

/** Physical addresses of the pages that are gone, of which there are some. */
async function pagesGone(
  target: string,
  physical: NonNullable<Machine["physical"]>,
  isGone: IsGone,
): Promise<ReadonlySet<number>> {
  const known = goneBefore.get(isGone) ?? new Map<string, ReadonlySet<number>>();
  goneBefore.set(isGone, known);
  const before = known.get(target);
  if (before !== undefined) return before;
  const gone = new Set<number>();
  for (const { start, end, state } of physical.map.ranges()) {
    if (state !== "present") continue;
    for (let piece = start; piece < end; piece += PIECE) {
      const bytes = await physical.read(piece, Math.min(PIECE, end - piece));
      for (let i = 0; i < bytes.length; i += PAGE) {
        if (isGone(bytes.subarray(i, i + PAGE), piece + i)) gone.add(piece + i);
      }
    }
  }
  if (gone.size === 0) throw new Error(`${target}: no page to take away`);
  known.set(target, gone);
  return gone;
}

/** Memory that is zero where its pages are gone. */
function blanked(memory: NonNullable<Machine["physical"]>, gone: ReadonlySet<number>): PacketIo<number> {
  const { scheduler } = memory;
  const zeros = new MemoryIo(new Uint8Array(PAGE), { scheduler });
  return {
    scheduler,
    sendIo(at, view) {
      let from = at;
      let rest: typeof view | undefined = view;
      while (rest !== undefined) {
        const piece: typeof view = rest;
        const inPage = from % PAGE;
        rest = piece.length > PAGE - inPage ? piece.split(PAGE - inPage) : undefined;
        if (gone.has(from - inPage)) zeros.sendIo(inPage, piece);
        else memory.sendIo(from, piece);
        from += PAGE - inPage;
      }
    },
  };
}

/** Numbers of the processes that a kernel lists, and that its guest did; ascending. */
export async function processNumbers(
  linux: Linux,
  { processes }: Truth,
): Promise<{ found: number[]; listed: number[] }> {
  const ascending = (a: number, b: number) => a - b;
  const found = (await linux.tasks({ onDamage: () => {} }).toArray()).map(({ pid = -1 }) => pid);
  return { found: found.sort(ascending), listed: processes.map(({ pid }) => pid).sort(ascending) };
}
