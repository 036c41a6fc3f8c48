/** A configuration planted into a copy of the committed dump's kernel, which holds none of its own; and what damage leaves of it. */
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Routine } from "../../../src/io/index.js";
import {
  type Damage,
  ModuleSymbols,
  parseKernelConfig,
  parseSystemMap,
  readKernelConfig,
} from "../../../src/linux/index.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";

const TEXT = `#
# Automatically generated file; DO NOT EDIT.
# Linux/x86 6.1.0 Kernel Configuration
#
CONFIG_CC_VERSION_TEXT="gcc (Debian) 12.2.0, \\"quoted\\""
CONFIG_SMP=y
CONFIG_NR_CPUS=64
# CONFIG_X86_X32_ABI is not set
CONFIG_BTRFS_FS=m
CONFIG_PHYSICAL_START=0x1000000
CONFIG_LSM=""
${Array.from({ length: 3000 }, (_, i) => `CONFIG_DRIVER_${(i * 7919) % 3001}=${"ym"[i % 2]}`).join("\n")}
`;

const letters = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

// biome-ignore lint/correctness/useYield: it has nothing to wait for.
function* found<T>(value: T): Routine<T> {
  return value;
}

describe("a kernel's configuration", () => {
  let patched: PatchedKernel;
  /** Where it is planted: over the types, which it does not need. */
  let place: bigint;
  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    place = (await patched.kernel.symbol("__start_BTF")).address + 100n;
  });
  afterEach(() => patched.close());

  async function plant(compressed: Uint8Array, end = "IKCFG_ED"): Promise<void> {
    const bytes = Uint8Array.of(...letters("IKCFG_ST"), ...compressed, ...letters(end));
    for (let at = 0; at < bytes.length; ) {
      const room = 4096 - Number((place + BigInt(at)) % 4096n);
      await patched.set(place + BigInt(at), bytes.subarray(at, at + room));
      at += room;
    }
  }

  /** The symbols that a kernel with it has. */
  function name(at: bigint): void {
    const map = `${at.toString(16)} r kernel_config_data\n`;
    patched.kernel.useSymbols(parseSystemMap(letters(map)).kallsyms);
  }

  async function damaged(compressed: Uint8Array, end?: string) {
    await plant(compressed, end);
    name(place + 8n);
    const told: Damage[] = [];
    const config = await readKernelConfig(patched.kernel, { onDamage: (each) => told.push(each) });
    return { ...config, told };
  }

  it("is what was compressed into it: by the symbol behind the marker, or before it", async () => {
    await plant(gzipSync(TEXT, { level: 9 }));
    for (const at of [place, place + 8n]) {
      name(at);
      const { text, address, options } = await readKernelConfig(patched.kernel);
      expect(text).toBe(TEXT);
      expect(address).toBe(place + 8n);
      expect(options).toHaveLength(3007);
    }
  });

  it("is found by its marker where only functions have symbols, and in a module", async () => {
    await plant(gzipSync(TEXT));
    const { kernel } = patched;
    const functions = parseSystemMap(letters("ffffffff81000000 T _stext\n")).kallsyms;
    const whole = await kernel.kallsyms();
    kernel.useSymbols(functions);
    expect((await readKernelConfig(kernel)).text).toBe(TEXT);
    // A kernel that lists its variables would list this one: its image is not searched.
    kernel.useSymbols(whole);
    await expect(readKernelConfig(kernel)).rejects.toMatchObject({ code: "NO_CONFIG" });
    const symbol = { name: "kernel_config_data", address: place + 8n, type: "r", module: "configs" };
    vi.spyOn(kernel, "loadModuleSymbols").mockImplementation(() => found(new ModuleSymbols([symbol], [])));
    expect((await readKernelConfig(kernel)).text).toBe(TEXT);
  });

  it("is not there in Debian's kernels, which says where it is then", async () => {
    await expect(readKernelConfig(patched.kernel)).rejects.toMatchObject({
      code: "NO_CONFIG",
      message: expect.stringContaining(`/boot/config-${patched.kernel.release}`),
    });
  });

  it("is given up to where it is cut, by its end or by a page that is missing", async () => {
    const compressed = gzipSync(TEXT);
    const cut = await damaged(compressed.subarray(0, 5000));
    expect(cut.text.length).toBeGreaterThan(1000);
    expect(TEXT.startsWith(cut.text)).toBe(true);
    expect(cut.told).toMatchObject([{ reason: "invalid", message: expect.stringContaining("ends within") }]);
    await plant(compressed);
    await patched.remove(place + 8192n);
    const told: Damage[] = [];
    const gone = await readKernelConfig(patched.kernel, { onDamage: (each) => told.push(each) });
    expect(TEXT.startsWith(gone.text) && gone.text.length > 1000).toBe(true);
    expect(told).toMatchObject([{ reason: "unreadable", address: (place + 8192n) & -4096n }]);
    await expect(readKernelConfig(patched.kernel)).rejects.toMatchObject({ code: "DAMAGED" });
  });

  it("is given, and told to be damaged, with a sum or a length that is wrong", async () => {
    for (const [from, expected] of [
      [8, /incorrect data check/],
      [4, /incorrect length check/],
    ] as const) {
      const compressed = gzipSync(TEXT);
      compressed.set([1, 2, 3, 0x7f], compressed.length - from);
      const { text, told } = await damaged(compressed);
      expect(text).toBe(TEXT);
      expect(told).toMatchObject([{ reason: "invalid", message: expect.stringMatching(expected) }]);
    }
  });

  it("needs no end marker, and is none without a beginning", async () => {
    const without = await damaged(gzipSync(TEXT), "nothing!");
    expect(without).toMatchObject({ text: TEXT, told: [] });
    const none = await damaged(letters("no gzip"));
    expect(none).toMatchObject({ text: "", options: [], told: [{ reason: "invalid" }] });
  });

  it("that decompresses to more than any is cut", async () => {
    const { text, told } = await damaged(gzipSync(new Uint8Array(1 << 26)));
    expect(text.length).toBeLessThanOrEqual(8 << 20);
    expect(text.length).toBeGreaterThan(8_000_000);
    expect(told).toMatchObject([{ message: expect.stringContaining("more than is believed") }]);
  });
});

describe("parseKernelConfig", () => {
  it("gives each option's value: a letter, a number, a text without quotes, n for what is not set", () => {
    const values = parseKernelConfig(TEXT).map(({ name, value }) => [name, value]);
    expect(values.slice(0, 7)).toEqual([
      ["CONFIG_CC_VERSION_TEXT", 'gcc (Debian) 12.2.0, "quoted"'],
      ["CONFIG_SMP", "y"],
      ["CONFIG_NR_CPUS", "64"],
      ["CONFIG_X86_X32_ABI", "n"],
      ["CONFIG_BTRFS_FS", "m"],
      ["CONFIG_PHYSICAL_START", "0x1000000"],
      ["CONFIG_LSM", ""],
    ]);
    expect(parseKernelConfig("CONFIG_=\n#CONFIG_A is not set\nXCONFIG_B=y\n")).toEqual([]);
  });
});
