/**
 * VMCOREINFO: what a Linux kernel says about itself, as lines of text in one page of its memory.
 *
 * Facts: kernel/crash_core.c and kernel/vmcore_info.c (`crash_save_vmcoreinfo_init`, `vmcoreinfo_append_str`),
 * include/linux/crash_core.h (the macros' formats), arch/x86/kernel/machine_kexec_64.c
 * (`arch_crash_save_vmcoreinfo`), Documentation/admin-guide/kdump/vmcoreinfo.rst.
 */
import { decodeLatin1 } from "../../memory/index.js";

/** Longest text that is parsed: `VMCOREINFO_BYTES` is one page (64 KiB on the largest), a note adds padding. */
const MAX_BYTES = 65_536;
/** The first key, written by `crash_save_vmcoreinfo_init` before anything else. */
const FIRST_KEY = "OSRELEASE=";

/** What is known from one VMCOREINFO text. Values of 64 bits are bigints; a repeated key keeps its last value. */
export interface Vmcoreinfo {
  /** Kernel release, such as "6.1.0-56-cloud-amd64". */
  readonly release: string | undefined;
  /** GNU build id in hex; since Linux 5.9 (0935288c6e00). */
  readonly buildId: string | undefined;
  /** Bytes. */
  readonly pageSize: number | undefined;
  /** What KASLR added to every kernel symbol's address; the addresses in `symbols` have it already. */
  readonly kernelOffset: bigint | undefined;
  /** Seconds since 1970, in the text of a kernel that has crashed. */
  readonly crashTime: bigint | undefined;
  /** `SYMBOL(name)=hex`: virtual addresses. */
  readonly symbols: ReadonlyMap<string, bigint>;
  /** `NUMBER(name)=decimal` (signed), or hex where a kernel writes it with `0x`. */
  readonly numbers: ReadonlyMap<string, bigint>;
  /** `OFFSET(struct.member)`: bytes. */
  readonly offsets: ReadonlyMap<string, number>;
  /** `SIZE(struct)`: bytes. */
  readonly sizes: ReadonlyMap<string, number>;
  /** `LENGTH(name)`: elements, or bytes, as the kernel says. */
  readonly lengths: ReadonlyMap<string, number>;
  /** Every other line that has text, in order. */
  readonly unknown: readonly string[];
  /** The text itself, up to the first NUL. */
  readonly text: string;
}

/**
 * Parses a VMCOREINFO text: bytes up to the first NUL, at most 64 KiB. Never throws: what does not parse is kept in
 * `unknown`.
 */
export function parseVmcoreinfo(bytes: Uint8Array): Vmcoreinfo {
  const nul = bytes.indexOf(0);
  const text = decodeLatin1(bytes, 0, Math.min(nul < 0 ? bytes.length : nul, MAX_BYTES));
  const symbols = new Map<string, bigint>();
  const numbers = new Map<string, bigint>();
  const offsets = new Map<string, number>();
  const sizes = new Map<string, number>();
  const lengths = new Map<string, number>();
  const plain = new Map<string, string>();
  const unknown: string[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const equals = line.indexOf("=");
    const key = equals < 0 ? "" : line.slice(0, equals);
    const value = line.slice(equals + 1);
    if (!store(key, value)) unknown.push(line);
  }
  return {
    release: plain.get("OSRELEASE"),
    buildId: plain.get("BUILD-ID"),
    pageSize: small(plain.get("PAGESIZE") ?? ""),
    kernelOffset: hexNumber(plain.get("KERNELOFFSET") ?? ""),
    crashTime: decimal(plain.get("CRASHTIME") ?? ""),
    symbols,
    numbers,
    offsets,
    sizes,
    lengths,
    unknown,
    text,
  };

  /** @returns whether the line has a known form. */
  function store(key: string, value: string): boolean {
    if (PLAIN[key]?.(value) === true) {
      plain.set(key, value);
      return true;
    }
    const open = key.indexOf("(");
    if (open < 1 || !key.endsWith(")")) return false;
    const name = key.slice(open + 1, -1);
    switch (key.slice(0, open)) {
      case "SYMBOL":
        return put(symbols, name, hexNumber(value));
      case "NUMBER":
        return put(numbers, name, decimal(value) ?? (value.startsWith("0x") ? hexNumber(value) : undefined));
      case "OFFSET":
        return put(offsets, name, small(value));
      case "SIZE":
        return put(sizes, name, small(value));
      case "LENGTH":
        return put(lengths, name, small(value));
      default:
        return false;
    }
  }
}

/** Lines of the form KEY=value, and what their value must look like. */
const PLAIN: Readonly<Record<string, ((value: string) => boolean) | undefined>> = {
  __proto__: null as never,
  OSRELEASE: (value) => value !== "",
  "BUILD-ID": (value) => /^[0-9a-f]{1,128}$/.test(value),
  PAGESIZE: (value) => small(value) !== undefined,
  KERNELOFFSET: (value) => hexNumber(value) !== undefined,
  CRASHTIME: (value) => decimal(value) !== undefined,
};

function put<T>(map: Map<string, T>, name: string, value: T | undefined): boolean {
  if (name === "" || value === undefined) return false;
  map.set(name, value);
  return true;
}

/** Hex of up to 64 bits, with or without `0x` (`%lx`, `%llx`). */
function hexNumber(value: string): bigint | undefined {
  const match = /^(?:0x)?([0-9a-fA-F]{1,16})$/.exec(value);
  return match === null ? undefined : BigInt(`0x${match[1]}`);
}

function decimal(value: string): bigint | undefined {
  return /^-?[0-9]{1,20}$/.test(value) ? BigInt(value) : undefined;
}

function small(value: string): number | undefined {
  return /^[0-9]{1,15}$/.test(value) ? Number(value) : undefined;
}

/**
 * Where a VMCOREINFO text begins in a page that holds one: 0 for `vmcoreinfo_data` itself, the length of the note's
 * header for `vmcoreinfo_note` (an ELF note named "VMCOREINFO", 12 + 12 bytes), else -1.
 *
 * @param at the page's first byte in `bytes`.
 */
export function vmcoreinfoStart(bytes: Uint8Array, at: number): number {
  // 79 = "O" of the text; 11 = the length of the note's name with its NUL.
  const first = bytes[at];
  if (first === 79) return startsWith(bytes, at, FIRST_KEY) ? 0 : -1;
  if (first === 11 && startsWith(bytes, at + 12, "VMCOREINFO\0") && startsWith(bytes, at + 24, FIRST_KEY))
    return 24;
  return -1;
}

function startsWith(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (bytes[at + i] !== text.charCodeAt(i)) return false;
  }
  return true;
}
