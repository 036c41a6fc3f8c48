/**
 * The structures of a kdump file's headers as C declares them, and where their members lie under each ABI.
 *
 * They are written as the machine's compiler laid them out, so one declaration gives several layouts. Declarations:
 * makedumpfile's diskdump_mod.h (`struct disk_dump_header`, `struct kdump_sub_header`; `off_t` is of 64 bits there).
 * QEMU's include/sysemu/dump.h (`DiskDumpHeader32`, `KdumpSubHeader32`, `…64`) has the same members, packed: for 64
 * bits that is no difference, and its 32-bit form is that of i386, whatever the machine. Layouts of 32 bits checked
 * with gcc -m32, with and without -malign-double; crash's diskdump.c lists i386's and arm's in a comment.
 */

/** How a compiler lays structures out. */
export interface Abi {
  /** For `info`. */
  readonly name: string;
  /** Bytes of `long` (and of pointers). */
  readonly long: 4 | 8;
  /** What members of 64 bits are aligned to. */
  readonly wideAlignment: 4 | 8;
  /** Bytes of a `struct timeval`'s members. */
  readonly time: 4 | 8;
}

/** x86-64, arm64, ppc64, s390x, riscv64 and so on. */
const LP64: Abi = { name: "64-bit", long: 8, wideAlignment: 8, time: 8 };
/** arm, ppc, mips. */
const ILP32: Abi = { name: "32-bit", long: 4, wideAlignment: 8, time: 4 };
/** i386, and QEMU for every machine of 32 bits. */
const I386: Abi = { name: "32-bit packed", long: 4, wideAlignment: 4, time: 4 };
/** The same, built with `_TIME_BITS=64`, as distributions for arm do since 2024. */
const ILP32_TIME64: Abi = { name: "32-bit with 64-bit time", long: 4, wideAlignment: 8, time: 8 };
const I386_TIME64: Abi = { name: "32-bit packed with 64-bit time", long: 4, wideAlignment: 4, time: 8 };

/**
 * ABIs in the order in which they are tried on a machine of that name, the likeliest first. QEMU has the 64-bit layout
 * for i386 too, if it has memory beyond 4 GiB.
 */
export function abisOf(machine: string): readonly Abi[] {
  if (/^i[3-6]86$/.test(machine)) return [I386, ILP32, I386_TIME64, ILP32_TIME64, LP64];
  if (/^(arm(?!64)|ppc$|mips$)/.test(machine)) return [ILP32, I386, ILP32_TIME64, LP64];
  return [LP64, ILP32, I386, ILP32_TIME64, I386_TIME64];
}

/** A member: its name, its type (a number: that many bytes), and the header version that it came with. */
type Member<Name extends string> = readonly [
  name: Name,
  type: "int" | "long" | "wide" | "time" | number,
  since?: number,
];

/** Where a member lies in its structure, in bytes. */
export interface Place {
  readonly at: number;
  readonly size: number;
}

/** Where every member of a structure lies under one ABI, and where the members of a header version end. */
export interface Layout<Name extends string> {
  readonly places: Readonly<Record<Name, Place>>;
  end(version: number): number;
}

function layOut<Name extends string>(abi: Abi, members: readonly Member<Name>[]): Layout<Name> {
  const places = {} as Record<Name, Place>;
  let at = 0;
  for (const [name, type] of members) {
    const size = sizeOf(abi, type);
    const alignment = typeof type === "number" ? 1 : size === 8 ? abi.wideAlignment : size;
    at = Math.ceil(at / alignment) * alignment;
    places[name] = { at, size };
    at += size;
  }
  return {
    places,
    end: (version) => {
      let end = 0;
      for (const [name, , since = 0] of members) {
        if (since <= version) end = places[name].at + places[name].size;
      }
      return end;
    },
  };
}

function sizeOf(abi: Abi, type: Member<string>[1]): number {
  if (typeof type === "number") return type;
  if (type === "int") return 4;
  return type === "wide" ? 8 : abi[type];
}

/** Bytes of the largest header, without the task pointers. */
export const HEADER_SIZE = 464;

const NAME = 65;
/** Where `utsname.machine` begins, under every ABI, and its length. */
export const MACHINE: Place = { at: 8 + 4 + 4 * NAME, size: NAME };

const HEADER = [
  ["signature", 8],
  ["header_version", "int"],
  ["sysname", NAME],
  ["nodename", NAME],
  ["release", NAME],
  ["version", NAME],
  ["machine", NAME],
  ["domainname", NAME],
  ["tv_sec", "time"],
  ["tv_usec", "time"],
  ["status", "int"],
  ["block_size", "int"],
  ["sub_hdr_size", "int"],
  ["bitmap_blocks", "int"],
  ["max_mapnr", "int"],
] as const;

const SUB_HEADER = [
  ["phys_base", "long"],
  ["dump_level", "int", 1],
  ["split", "int", 2],
  ["start_pfn", "long", 2],
  ["end_pfn", "long", 2],
  ["offset_vmcoreinfo", "wide", 3],
  ["size_vmcoreinfo", "long", 3],
  ["offset_note", "wide", 4],
  ["size_note", "long", 4],
  ["offset_eraseinfo", "wide", 5],
  ["size_eraseinfo", "long", 5],
  ["start_pfn_64", "wide", 6],
  ["end_pfn_64", "wide", 6],
  ["max_mapnr_64", "wide", 6],
] as const;

/** Members of `struct disk_dump_header`. */
export type HeaderMember = (typeof HEADER)[number][0];
/** Members of `struct kdump_sub_header`. */
export type SubHeaderMember = (typeof SUB_HEADER)[number][0];

/** `struct disk_dump_header`, at the file's beginning. */
export function headerLayout(abi: Abi): Layout<HeaderMember> {
  return layOut<HeaderMember>(abi, HEADER);
}

/** `struct kdump_sub_header`, in the block after it. */
export function subHeaderLayout(abi: Abi): Layout<SubHeaderMember> {
  return layOut<SubHeaderMember>(abi, SUB_HEADER);
}
