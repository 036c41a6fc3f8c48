import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { faultState, MemoryIo, readPartial, Scheduler, SourceIo } from "../../../src/io/index.js";
import { openSwapFile, type SwapFile } from "../../../src/linux/swap/swap-file.js";
import { SwapFileError } from "../../../src/linux/swap/swap-header.js";
import { memorySource, packetIoSuite } from "../../suite/index.js";
import { type SwapAreaFields, writeSwapArea } from "../../support/write-swap.js";

function openBytes(bytes: Uint8Array, pageSize?: number): SwapFile {
  return openSwapFile(new MemoryIo(bytes), { name: "swap", size: bytes.length, pageSize }).sync();
}

/** The error that opening bytes throws. */
function errorOf(bytes: Uint8Array, pageSize?: number): SwapFileError {
  try {
    openBytes(bytes, pageSize);
  } catch (error) {
    if (error instanceof SwapFileError) return error;
    throw error;
  }
  throw new Error("it was opened");
}

for (const mode of ["sync", "async"] as const) {
  packetIoSuite(`a swap area over a file that answers ${mode}`, () => {
    const bytes = writeSwapArea({ pageSize: 4096, pages: 12, badPages: [11] });
    const file = new SourceIo(memorySource(bytes, { mode }), new Scheduler());
    return (async () => ({
      io: await openSwapFile(file, { name: "swap", size: bytes.length }),
      base: 4096,
      truth: () => bytes.subarray(4096, 11 * 4096),
      asyncOnly: mode === "async",
      missing: { bytes: 30, state: "outside" },
    }))();
  });
}

describe("a swap area", () => {
  it("says what its header has, in either byte order and with any page size", () => {
    const uuid = Uint8Array.from({ length: 16 }, (_, i) => i * 16 + i);
    for (const pageSize of [4096, 8192, 16_384, 32_768, 65_536]) {
      for (const littleEndian of [true, false]) {
        const bytes = writeSwapArea({
          pageSize,
          pages: 10,
          littleEndian,
          badPages: [7, 3, 7],
          uuid,
          label: "swap-a",
        });
        const { header } = openBytes(bytes);
        expect(header).toEqual({
          pageSize,
          lastPage: 9,
          uuid: "00112233-4455-6677-8899-aabbccddeeff",
          label: "swap-a",
          badPages: Uint32Array.of(3, 7),
          littleEndian,
          hibernated: false,
        });
      }
    }
  });

  it("is read where its pages are, and nowhere else", () => {
    const area = fc
      .record({
        pages: fc.integer({ min: 2, max: 12 }),
        cut: fc.integer({ min: 0, max: 5000 }),
        bad: fc.array(fc.integer({ min: 1, max: 11 }), { maxLength: 4 }),
        extra: fc.integer({ min: 0, max: 3 }),
      })
      .map(({ pages, cut, bad, extra }) => {
        const badPages = bad.filter((page) => page < pages);
        const whole = writeSwapArea({ pageSize: 4096, pages: pages + extra, lastPage: pages - 1, badPages });
        const bytes = whole.subarray(0, Math.max(4096, whole.length - cut));
        return { pages, badPages, bytes };
      });
    fc.assert(
      fc.property(area, fc.nat(70_000), fc.nat(30_000), ({ pages, badPages, bytes }, offset, length) => {
        const swap = openBytes(bytes);
        const got = readPartial(swap, offset, new Uint8Array(length).fill(0xee)).sync();
        const states = new Array<string>(length).fill("");
        for (const { start, end, fault } of got.holes) states.fill(faultState(fault), start, end);
        for (let i = 0; i < length; i++) {
          const at = offset + i;
          const page = Math.floor(at / 4096);
          const none = page === 0 || page >= pages || badPages.includes(page);
          const state = none ? "outside" : at >= bytes.length ? "excluded" : "";
          if (states[i] !== state) expect(`${at}: ${states[i]}`).toBe(`${at}: ${state}`);
          if (state === "" && got.bytes[i] !== bytes[at]) expect(at).toBe(-1);
        }
      }),
    );
  });

  it("whose file is cut short says how many bytes are missing", () => {
    const bytes = writeSwapArea({ pageSize: 4096, pages: 10 });
    expect(openBytes(bytes).bytesCutOff).toBe(0);
    expect(openBytes(bytes.subarray(0, 30_000)).bytesCutOff).toBe(10 * 4096 - 30_000);
  });

  it("with a hibernated machine's image in it is still one", () => {
    const fields = { pageSize: 4096, pages: 4, signature: "S1SUSPEND\0" } as const;
    expect(openBytes(writeSwapArea({ ...fields, before: "SWAPSPACE2" })).header.hibernated).toBe(true);
    expect(errorOf(writeSwapArea({ ...fields, before: "something." })).code).toBe("NOT_A_SWAP_AREA");
  });

  it("is taken for the machine's page size where that is known, whatever its pages hold", () => {
    const bytes = writeSwapArea({ pageSize: 16_384, pages: 4 });
    bytes.set(new TextEncoder().encode("SWAPSPACE2"), 4086);
    expect(openBytes(bytes, 16_384).header.pageSize).toBe(16_384);
    const error = errorOf(writeSwapArea({ pageSize: 4096, pages: 20 }), 16_384);
    expect(error.message).toBe(
      "swap: a swap area of a machine with pages of 4096 bytes; this one's have 16384",
    );
  });
});

describe("a file that is no swap area that can be used", () => {
  const cases: readonly (readonly [string, Partial<SwapAreaFields>, string, string])[] = [
    ["of another version", { version: 2 }, "UNSUPPORTED_SWAP_AREA", "version 2"],
    ["of version 0", { signature: "SWAP-SPACE" }, "UNSUPPORTED_SWAP_AREA", "version 0"],
    ["without pages", { lastPage: 0 }, "MALFORMED_SWAP_AREA", "its last one is 0"],
    ["with more bad pages than fit", { badCount: 638 }, "MALFORMED_SWAP_AREA", "room for 637"],
    ["with 2^32 - 1 bad pages", { badCount: 0xffff_ffff }, "MALFORMED_SWAP_AREA", "4294967295 bad pages"],
    ["with a bad page beyond its end", { badPages: [10] }, "MALFORMED_SWAP_AREA", "bad page 10"],
    ["with a bad page 0", { badPages: [0] }, "MALFORMED_SWAP_AREA", "bad page 0"],
    ["without a signature", { signature: "SWAPSPACE3" }, "NOT_A_SWAP_AREA", "at 0xff6"],
  ];
  it.each(cases)("is refused with the reason: %s", (_name, fields, code, text) => {
    const error = errorOf(writeSwapArea({ pageSize: 4096, pages: 10, ...fields }));
    expect(error.code).toBe(code);
    expect(error.message).toContain(text);
    expect(error.message).toMatch(/^swap: /);
  });

  it("is refused if it is encrypted, empty or shorter than a header", () => {
    const luks = new Uint8Array(70_000);
    luks.set(new TextEncoder().encode("LUKS\xba\xbe"));
    expect(errorOf(luks).message).toContain("encrypted (LUKS)");
    expect(errorOf(new Uint8Array(0)).code).toBe("NOT_A_SWAP_AREA");
    expect(errorOf(writeSwapArea({ pageSize: 4096, pages: 2 }).subarray(0, 4095)).code).toBe(
      "NOT_A_SWAP_AREA",
    );
  });

  it("opens or is refused by name, whatever its bytes are", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 4096 - 1024, maxLength: 4096 - 1024 }),
        fc.constantFrom(0, 1, 0x0100_0000),
        (random, version) => {
          const bytes = writeSwapArea({ pageSize: 4096, pages: 3 });
          bytes.set(random, 1024);
          new DataView(bytes.buffer).setUint32(1024, version, true);
          bytes.set(new TextEncoder().encode("SWAPSPACE2"), 4086);
          try {
            openBytes(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(SwapFileError);
          }
        },
      ),
    );
  });

  it("is refused if its header can't be read", () => {
    const bytes = writeSwapArea({ pageSize: 4096, pages: 4 });
    expect(() =>
      openSwapFile(new MemoryIo(bytes.subarray(0, 2000)), { name: "swap", size: bytes.length }).sync(),
    ).toThrow("its header could not be read (outside at 2000)");
  });
});

const MKSWAP = ["/usr/sbin/mkswap", "/sbin/mkswap"].find((path) => existsSync(path));

describe.skipIf(MKSWAP === undefined)("an area that mkswap made", () => {
  it.each([4096, 16_384, 65_536])("with pages of %d bytes is read as mkswap says", (pageSize) => {
    const folder = mkdtempSync(join(tmpdir(), "memtool-swap-"));
    try {
      const path = join(folder, "swap");
      writeFileSync(path, new Uint8Array(pageSize * 16), { mode: 0o600 });
      const uuid = "01234567-89ab-cdef-0123-456789abcdef";
      const options = ["--pagesize", String(pageSize), "-L", "memtool", "-U", uuid, path];
      execFileSync(MKSWAP as string, options, { stdio: "pipe" });
      const { header } = openBytes(new Uint8Array(readFileSync(path)));
      expect(header).toMatchObject({ pageSize, lastPage: 15, uuid, label: "memtool", littleEndian: true });
      expect(header.badPages).toHaveLength(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
