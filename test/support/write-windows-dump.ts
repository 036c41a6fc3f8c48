/**
 * Windows crash dumps for tests, written field by field from the published structures: DUMP_HEADER32 and DUMP_HEADER64 as
 * in Comae's dmp.h and QEMU's win_dump_defs.h, the bitmap headers as in Volatility 3's crash_common.json and the Windows
 * SDK, RDMP as in kdmp-parser. Shares nothing with the reader.
 */
import { ByteWriter } from "./bytes.js";

const PAGE = 4096;

/** Pages of physical memory that follow each other. */
export interface WindowsRun {
  readonly page: number;
  /** A multiple of 4096. */
  readonly bytes: Uint8Array;
}

export interface WindowsOptions {
  readonly bits?: 32 | 64;
  readonly type?: number;
  readonly machine?: number;
  /** PHYSICAL_MEMORY_DESCRIPTOR: `undefined`: of the runs; `"unset"`: left as "PAGE". */
  readonly descriptor?: readonly { readonly page: number; readonly count: number | bigint }[] | "unset";
  readonly numberOfRuns?: number;
  readonly numberOfPages?: number;
  /** Default: what the file has. */
  readonly requiredDumpSpace?: number;
  /** The second header of dumps with a bitmap: its signature, and which of the layouts. */
  readonly signature?: "SDMP" | "FDMP";
  readonly earlier?: boolean;
  /** Bits of the bitmap; default: up to the last page. */
  readonly bitmapPages?: number;
  /** Fields of it that lie. */
  readonly firstPage?: number | bigint;
  readonly presentPages?: number | bigint;
  readonly pages?: number | bigint;
  /** What lies between the bitmap and the pages; default 0xa5, as if memory had been written. */
  readonly padding?: number;
  readonly bugCheck?: readonly [code: number, ...parameters: bigint[]];
  /** FILETIME and 100 ns. */
  readonly systemTime?: bigint;
  readonly systemUpTime?: bigint;
  readonly comment?: string;
  readonly exception?: { readonly code: number; readonly flags: number; readonly address: bigint };
  /** Bytes of the CONTEXT record. */
  readonly context?: Uint8Array;
}

/** Writes "PAGE" up to an offset, as Windows fills its header. */
function fill(out: ByteWriter, end: number): void {
  while (out.length < end) out.u8("PAGE".charCodeAt(out.length % 4));
}

export function writeWindowsDump(runs: readonly WindowsRun[], options: WindowsOptions = {}): Uint8Array {
  const { type = 1, bits = 64 } = options;
  const body =
    type === 1
      ? joined(runs)
      : type >= 8
        ? rangesBody(runs, type, options)
        : bitmapBody(runs, bits === 64 ? 0x2000 : 0x1000, options);
  const out = new ByteWriter();
  if (bits === 64) header64(out, runs, body.length, options);
  else header32(out, runs, body.length, options);
  return out.bytes(body).done();
}

function descriptorOf(runs: readonly WindowsRun[], options: WindowsOptions) {
  const { descriptor } = options;
  if (descriptor === "unset") return undefined;
  const list = descriptor ?? runs.map(({ page, bytes }) => ({ page, count: bytes.length / PAGE }));
  const sum = list.reduce((total, { count }) => total + BigInt(count), 0n);
  return { list, runs: options.numberOfRuns ?? list.length, pages: options.numberOfPages ?? sum };
}

function header64(
  out: ByteWriter,
  runs: readonly WindowsRun[],
  bodyLength: number,
  options: WindowsOptions,
): void {
  const [code = 0, ...parameters] = options.bugCheck ?? [];
  out.text("PAGE").text("DU64").u32(15).u32(19045); // Signature, ValidDump, MajorVersion, MinorVersion
  out.u64(0x1ad000).u64(0xffffde0000000000n); // DirectoryTableBase, PfnDataBase
  out.u64(0xfffff8054e02a7b0n).u64(0xfffff8054e01e060n); // PsLoadedModuleList, PsActiveProcessHead
  out.u32(options.machine ?? 0x8664).u32(4); // MachineImageType, NumberProcessors
  out.u32(code);
  fill(out, 0x40);
  for (let i = 0; i < 4; i++) out.u64(parameters[i] ?? 0n);
  fill(out, 0x80); // VersionUser
  out.u64(0xfffff8054dc00b20n); // KdDebuggerDataBlock
  const descriptor = descriptorOf(runs, options);
  if (descriptor !== undefined) {
    out.u32(descriptor.runs);
    fill(out, out.length + 4); // padding
    out.u64(descriptor.pages);
    for (const { page, count } of descriptor.list) out.u64(page).u64(count);
  }
  fill(out, 0x88 + 704); // PhysicalMemoryBlockBuffer[700] and padding
  out.bytes(options.context ?? new Uint8Array(0));
  fill(out, 0x348 + 3000);
  const exception = options.exception ?? { code: 0, flags: 0, address: 0n };
  out.u32(exception.code).u32(exception.flags).u64(0).u64(exception.address);
  out.u32(0).u32(0); // NumberParameters, padding
  for (let i = 0; i < 15; i++) out.u64(0);
  out.u32(options.type ?? 1);
  fill(out, out.length + 4);
  out.u64(options.requiredDumpSpace ?? 0x2000 + bodyLength);
  out.u64(options.systemTime ?? 0n);
  if (options.comment !== undefined) out.text(options.comment, 128);
  fill(out, 0xfb0 + 128);
  out.u64(options.systemUpTime ?? 0n);
  fill(out, out.length + 8); // MiniDumpFields, SecondaryDataState
  out.u32(1).u32(0x110).u32(0); // ProductType, SuiteMask, WriterStatus
  fill(out, 0x2000);
}

function header32(
  out: ByteWriter,
  runs: readonly WindowsRun[],
  bodyLength: number,
  options: WindowsOptions,
): void {
  const [code = 0, ...parameters] = options.bugCheck ?? [];
  out.text("PAGE").text("DUMP").u32(15).u32(2600);
  out.u32(0x39000).u32(0x81000000).u32(0x805531a0).u32(0x805604d8);
  out.u32(options.machine ?? 0x14c).u32(1);
  out.u32(code);
  for (let i = 0; i < 4; i++) out.u32(Number(parameters[i] ?? 0n));
  fill(out, 0x5c); // VersionUser[32]
  out.u8(1).u8(0); // PaeEnabled, KdSecondaryVersion
  fill(out, 0x60);
  out.u32(0x80544ce0); // KdDebuggerDataBlock
  const descriptor = descriptorOf(runs, options);
  if (descriptor !== undefined) {
    out.u32(descriptor.runs).u32(Number(descriptor.pages));
    for (const { page, count } of descriptor.list) out.u32(page).u32(Number(count));
  }
  fill(out, 0x64 + 700);
  out.bytes(options.context ?? new Uint8Array(0));
  fill(out, 0x320 + 1200);
  const exception = options.exception ?? { code: 0, flags: 0, address: 0n };
  out.u32(exception.code).u32(exception.flags).u32(0).u32(Number(exception.address)).u32(0);
  for (let i = 0; i < 15; i++) out.u32(0);
  if (options.comment !== undefined) out.text(options.comment, 128);
  fill(out, 0x820 + 128);
  fill(out, out.length + 1768); // reserved0
  out.u32(options.type ?? 1);
  fill(out, out.length + 8); // MiniDumpFields, SecondaryDataState
  out.u32(1).u32(0x110).u32(0); // ProductType, SuiteMask, WriterStatus
  out.u64(options.requiredDumpSpace ?? 0x1000 + bodyLength);
  fill(out, out.length + 16); // reserved2
  out.u64(options.systemUpTime ?? 0n).u64(options.systemTime ?? 0n);
  fill(out, 0x1000);
}

function joined(runs: readonly WindowsRun[]): Uint8Array {
  const out = new ByteWriter();
  for (const { bytes } of runs) out.bytes(bytes);
  return out.done();
}

function bitmapBody(runs: readonly WindowsRun[], at: number, options: WindowsOptions): Uint8Array {
  const ascending = [...runs].sort((a, b) => a.page - b.page);
  const numbers = ascending.flatMap(({ page, bytes }) =>
    Array.from({ length: bytes.length / PAGE }, (_, i) => page + i),
  );
  const bits = options.bitmapPages ?? (numbers.at(-1) ?? 0) + 1;
  const bitmap = new Uint8Array(Math.ceil(bits / 8));
  for (const page of numbers) bitmap[page >> 3] = (bitmap[page >> 3] as number) | (1 << (page & 7));
  const fields = options.earlier ? (at === 0x2000 ? 0x28 : 0x20) : 0x38;
  const end = Math.ceil((fields + bitmap.length) / PAGE) * PAGE;
  const first = options.firstPage ?? at + end;
  const present = options.presentPages ?? numbers.length;
  const out = new ByteWriter();
  out
    .text(options.signature ?? "SDMP")
    .text("DUMP")
    .u32(0); // Signature, ValidDump, DumpOptions
  if (options.earlier) {
    const size = Number(options.pages ?? bits);
    out.u32(Number(first)).u32(size).u32(Number(present)); // HeaderSize, BitmapSize, Pages
    out.u32(bits); // Bitmap.SizeOfBitMap
    if (at === 0x2000)
      out.u32(0).u64(0xffffa70812345678n); // padding, Bitmap._reserved0: a pointer as it lay in memory
    else out.u32(0x81234567);
  } else {
    out
      .upTo(0x20)
      .u64(first)
      .u64(present)
      .u64(options.pages ?? bits);
  }
  out.bytes(bitmap);
  while (out.length < end) out.u8(options.padding ?? 0xa5);
  return out.bytes(joined(ascending)).done();
}

function rangesBody(runs: readonly WindowsRun[], type: number, options: WindowsOptions): Uint8Array {
  const pages = runs.reduce((sum, { bytes }) => sum + bytes.length / PAGE, 0);
  const table = 16 * (runs.length + 1);
  const end = Math.ceil((0x30 + table) / PAGE) * PAGE;
  const first = 0x2000 + end;
  const out = new ByteWriter();
  out.u32(0x40).text("RDMP").text("DUMP").u32(0); // Marker, Signature, ValidDump
  out.u64(end - 0x20).u64(options.firstPage ?? first); // MetadataSize, FirstPageOffset
  if (type === 10) out.u32(runs.length).u32(0).u64(pages);
  else out.u64(0).u64(0);
  for (const { page, bytes } of runs) out.u64(page).u64(bytes.length / PAGE);
  return out.upTo(end).bytes(joined(runs)).done();
}

/** A CONTEXT record of x86-64: general registers are their place in the order plus `base`. */
export function context64(base: number, flags = 0x10_000f): Uint8Array {
  const out = new ByteWriter();
  for (let i = 0; i < 6; i++) out.u64(0xf0f0); // P1Home … P6Home
  out.u32(flags).u32(0x1f80); // ContextFlags, MxCsr
  out.u16(0x10).u16(0x2b).u16(0x2b).u16(0x53).u16(0x2b).u16(0x18).u32(0x40246); // CS DS ES FS GS SS EFlags
  for (let i = 0; i < 6; i++) out.u64(0xd0 + i); // Dr0 … Dr3, Dr6, Dr7
  for (let i = 0; i < 17; i++) out.u64(base + i); // Rax Rcx Rdx Rbx Rsp Rbp Rsi Rdi R8 … R15 Rip
  return out.done();
}

/** A CONTEXT record of x86: as above. */
export function context32(base: number): Uint8Array {
  const out = new ByteWriter();
  out.u32(0x1_003f); // ContextFlags
  for (let i = 0; i < 6; i++) out.u32(0xd0 + i); // Dr0 … Dr7
  out.bytes(new Uint8Array(112)); // FLOATING_SAVE_AREA
  for (let i = 0; i < 16; i++) out.u32(base + i); // Gs Fs Es Ds Edi Esi Ebx Edx Ecx Eax Ebp Eip Cs EFlags Esp Ss
  return out.bytes(new Uint8Array(512)).done();
}
