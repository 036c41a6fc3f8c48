/**
 * VMware's snapshot states for tests, written tag by tag from the structures of crash's vmware_vmss.h and Volatility's
 * description; shares nothing with the reader.
 */
import { ByteWriter } from "./bytes.js";

const PAGE = 4096;

/** A tag: a value, or a block. */
export interface VmwareTagToWrite {
  readonly name: string;
  readonly indices?: readonly number[];
  readonly value?: { readonly bytes: 1 | 2 | 4 | 8; readonly number: number | bigint };
  readonly block?: Uint8Array;
  readonly compressed?: boolean;
  /** Zeros before the block's bytes; default: so many that the block begins at a multiple of 16. */
  readonly padding?: number;
  /** The block's size, if it lies. */
  readonly size?: number | bigint;
}

export interface VmwareGroupToWrite {
  readonly name: string;
  readonly tags: readonly VmwareTagToWrite[];
  /** Where it claims to be. */
  readonly position?: number | bigint;
  /** Without the tag that ends it. */
  readonly endless?: boolean;
}

export interface SnapshotOptions {
  readonly magic?: number;
  readonly version?: number;
  readonly groupCount?: number;
}

export function writeSnapshot(
  groups: readonly VmwareGroupToWrite[],
  options: SnapshotOptions = {},
): Uint8Array {
  const magic = options.magic ?? 0xbed2bed2;
  const narrow = (magic & 0xf) === 0;
  const bodyAt = 12 + 80 * groups.length;
  const body = new ByteWriter();
  const positions: [number, number][] = [];
  for (const { tags, endless } of groups) {
    const start = body.length;
    for (const tag of tags) writeTag(body, tag, narrow, bodyAt);
    if (endless !== true) body.u16(0);
    positions.push([bodyAt + start, body.length - start]);
  }
  const out = new ByteWriter();
  // struct cptdumpheader
  out
    .u32(magic)
    .u32(options.version ?? 8)
    .u32(options.groupCount ?? groups.length);
  // struct cptgroupdesc
  for (const [i, { name, position }] of groups.entries()) {
    const [at, size] = positions[i] as [number, number];
    out
      .text(name, 64)
      .u64(position ?? at)
      .u64(size);
  }
  return out.bytes(body.done()).done();
}

function writeTag(out: ByteWriter, tag: VmwareTagToWrite, narrow: boolean, bodyAt: number): void {
  const { name, indices = [], value, block } = tag;
  // MAKE_TAG: name length in the high byte, then two bits of indices and six of size.
  const size = block === undefined ? (value?.bytes ?? 0) : tag.compressed === true ? 62 : 63;
  out.u16((name.length << 8) | (indices.length << 6) | size).text(name);
  for (const index of indices) out.u32(index);
  if (block === undefined) {
    const { bytes = 0, number = 0 } = value ?? {};
    if (bytes === 1) out.u8(Number(number));
    if (bytes === 2) out.u16(Number(number));
    if (bytes === 4) out.u32(Number(number));
    if (bytes === 8) out.u64(number);
    return;
  }
  const stored = tag.size ?? block.length;
  if (narrow) out.u32(Number(stored)).u32(block.length);
  else out.u64(stored).u64(block.length);
  const at = bodyAt + out.length + 2;
  const padding = tag.padding ?? (16 - (at % 16)) % 16;
  out.u16(padding).bytes(new Uint8Array(padding)).bytes(block);
}

/** A range of memory in pages: where it belongs, where its bytes are, and how many pages it has. */
export interface VmwareRegion {
  readonly ppn: number;
  readonly pageNum: number;
  readonly size: number;
}

const u32 = (number: number) => ({ bytes: 4 as const, number });

/** The group "memory"; with `memory`, the memory itself in it. */
export function memoryGroup(
  regions: readonly VmwareRegion[],
  memory?: Uint8Array,
  more: readonly VmwareTagToWrite[] = [],
): VmwareGroupToWrite {
  return {
    name: "memory",
    tags: [
      { name: "memSize", value: u32(regions.reduce((sum, { size }) => sum + size, 0)) },
      { name: "align_mask", indices: [0], value: u32(0xffff) },
      { name: "regionsCount", value: u32(regions.length) },
      ...regions.flatMap(({ ppn, pageNum, size }, i): VmwareTagToWrite[] => [
        { name: "regionPageNum", indices: [i], value: u32(pageNum) },
        { name: "regionPPN", indices: [i], value: u32(ppn) },
        { name: "regionSize", indices: [i], value: u32(size) },
      ]),
      ...more,
      ...(memory === undefined ? [] : [{ name: "Memory", indices: [0, 0], block: memory }]),
    ],
  };
}

/** The group "cpu", as newer products write it: a value a register, each its place in the order plus `base`. */
export function cpuGroup(count: number, base: bigint): VmwareGroupToWrite {
  const u64 = (number: bigint) => ({ bytes: 8 as const, number });
  const names = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip".split(" ");
  const tags: VmwareTagToWrite[] = [{ name: "cpu:numVCPUs", value: u32(count) }];
  for (let cpu = 0; cpu < count; cpu++) {
    for (const [i, name] of names.entries()) {
      tags.push({ name, indices: [cpu], value: u64(base + BigInt(100 * cpu + i)) });
    }
    tags.push({ name: "eflags", indices: [cpu], value: u32(0x46) });
    tags.push({ name: "EFLAGS", indices: [cpu], value: u32(0x200) });
    for (const [i, value] of [0x80050033n, 0n, 0xabcn, 0x1000n * BigInt(cpu + 1), 0x6f0n].entries()) {
      tags.push({ name: "CR64", indices: [cpu, i], value: u64(value) });
    }
    tags.push({ name: "IDTR", indices: [cpu, 0], value: u32(0xfff) });
    tags.push({ name: "IDTR", indices: [cpu, 1], value: u32(0x12345000) });
    tags.push({ name: "IDTR", indices: [cpu, 2], value: u32(Number(base >> 32n)) });
  }
  return { name: "cpu", tags };
}

/** The group "cpu" with blocks: general registers, control registers, IDTR. */
export function cpuBlocks(base: bigint): VmwareGroupToWrite {
  const general = new ByteWriter();
  for (let i = 0; i < 16; i++) general.u64(base + BigInt(i));
  const control = new ByteWriter();
  for (let i = 0; i < 9; i++) control.u64(0x1000 * (i + 1));
  const idtr = new ByteWriter().u16(0xfff).u64(0xfffffe0000000000n);
  return {
    name: "cpu",
    tags: [
      { name: "cpu:numVCPUs", value: u32(1) },
      { name: "gpregs", indices: [0], block: general.done() },
      { name: "CR64", indices: [0], block: control.done() },
      { name: "IDTR", indices: [0], block: idtr.done(), padding: 3 },
    ],
  };
}

/** The memory's bytes of regions, as a `.vmem` has them. */
export function vmemOf(
  regions: readonly VmwareRegion[],
  bytesOf: (region: number) => Uint8Array,
): Uint8Array {
  const end = Math.max(0, ...regions.map(({ pageNum, size }) => (pageNum + size) * PAGE));
  const out = new Uint8Array(end);
  for (const [i, { pageNum }] of regions.entries()) out.set(bytesOf(i), pageNum * PAGE);
  return out;
}
