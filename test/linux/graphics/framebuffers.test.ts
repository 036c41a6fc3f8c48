/**
 * Framebuffers: none of our guests has one whose memory is RAM, so one is laid out by hand in the log of the dump that ships, which is large,
 * by the kernel's own types.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writePicture } from "../../../cli/linux/framebuffer-files.js";
import { ExtractFolder } from "../../../connectors/extract-folder.js";
import { type Framebuffer, framebufferLines, listFramebuffers } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const PAGE = 4096n;
const opened = PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump").then(async (patched) => ({
  patched,
  types: await patched.kernel.types(),
  page: ((await patched.kernel.symbol("__log_buf")).address + PAGE) & ~(PAGE - 1n),
}));
/** Three pages of memory: lines of 256 bytes, 64 pixels of 32 bits, of which 60 by 40 are shown from (2, 3) on. */
const LINE = 256;
const SHOWN = { width: 60, height: 40, left: 2, top: 3 };

interface Given {
  readonly fields?: Readonly<Record<string, number>>;
  readonly count?: number;
  readonly screen?: bigint;
}

/** Registers a framebuffer. */
async function register({ fields = {}, count = 1, screen }: Given = {}) {
  const { patched, types, page } = await opened;
  const memory = page + PAGE;
  const set = async (at: bigint, value: number) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    await patched.set(at, bytes);
  };
  await patched.set(page, new Uint8Array(Number(PAGE)));
  const place = (path: string) => page + BigInt(offsetOf(types, "fb_info", path));
  const values = {
    "fix.smem_len": 3 * Number(PAGE),
    "fix.line_length": LINE,
    "fix.visual": 2,
    "var.xres": SHOWN.width,
    "var.yres": SHOWN.height,
    "var.xres_virtual": 64,
    "var.yres_virtual": 48,
    "var.xoffset": SHOWN.left,
    "var.yoffset": SHOWN.top,
    "var.bits_per_pixel": 32,
    "var.red.offset": 16,
    "var.red.length": 8,
    "var.green.offset": 8,
    "var.green.length": 8,
    "var.blue.length": 8,
    ...fields,
  };
  for (const [path, value] of Object.entries(values)) await set(place(path), value);
  await patched.set(
    place("fix.id"),
    Uint8Array.from("test fb", (each) => each.charCodeAt(0)),
  );
  await patched.setPointer(place("screen_base"), screen ?? memory);
  await patched.setPointer((await patched.kernel.symbol("registered_fb")).address, page);
  await set((await patched.kernel.symbol("num_registered_fb")).address, count);
  for (let i = 0n; i < 3n; i++) {
    const bytes = Uint8Array.from({ length: Number(PAGE) }, (_, at) => byteAt(Number(i * PAGE) + at));
    await patched.set(memory + i * PAGE, bytes);
  }
  const damage: string[] = [];
  const onDamage = (each: { message: string }) => void damage.push(each.message);
  const list = await listFramebuffers(patched.kernel, { onDamage }).toArray();
  return { patched, list, first: list[0] as Framebuffer, damage, memory, page };
}

/** What is in its memory. */
const byteAt = (at: number) => (at * 7 + (at >> 8)) & 0xff;

/** A pixel that is shown, as a picture has it. */
function pixelAt(x: number, y: number): number[] {
  const at = (y + SHOWN.top) * LINE + (x + SHOWN.left) * 4;
  return [byteAt(at + 2), byteAt(at + 1), byteAt(at), 255];
}

const whole = () =>
  Array.from({ length: SHOWN.height }, (_, y) =>
    Array.from({ length: SHOWN.width }, (_, x) => pixelAt(x, y)).flat(),
  );

/** Reads a PNG of ours. */
function decode(file: Buffer): { width: number; height: number; lines: number[][] } {
  expect(file.subarray(0, 8).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
  const data: Buffer[] = [];
  let [width, height] = [0, 0];
  for (let at = 8; at < file.length; ) {
    const length = file.readUInt32BE(at);
    const [type, body] = [file.toString("latin1", at + 4, at + 8), file.subarray(at + 8, at + 8 + length)];
    if (type === "IHDR") [width, height] = [body.readUInt32BE(0), body.readUInt32BE(4)];
    if (type === "IDAT") data.push(body);
    at += length + 12;
  }
  const bytes = inflateSync(Buffer.concat(data));
  const line = 4 * width + 1;
  expect(bytes.length).toBe(line * height);
  const lines = Array.from({ length: height }, (_, y) => [...bytes.subarray(y * line + 1, (y + 1) * line)]);
  return { width, height, lines };
}

describe("framebuffers", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "memtool-screens-"));
  });
  afterEach(async () => {
    (await opened).patched.restore();
    rmSync(folder, { recursive: true });
  });

  it("of a machine without one: none, and nothing is damaged", async () => {
    expect(await listFramebuffers((await opened).patched.kernel).toArray()).toEqual([]);
  });

  it("have their sizes, offsets, colours and memory as the kernel has them", async () => {
    const { list, damage, memory, page } = await register();
    expect(list).toEqual([
      {
        address: page,
        number: 0,
        name: "test fb",
        ...SHOWN,
        virtualWidth: 64,
        virtualHeight: 48,
        bitsPerPixel: 32,
        lineLength: LINE,
        visual: "truecolor",
        layout: "packed",
        red: { offset: 16, length: 8 },
        green: { offset: 8, length: 8 },
        blue: { offset: 0, length: 8 },
        physical: 0n,
        virtual: memory,
        size: 3n * PAGE,
      },
    ]);
    expect(damage).toEqual([]);
  });

  it("of which the kernel counts another number are damaged", async () => {
    const { list, damage } = await register({ count: 2 });
    expect(list).toHaveLength(1);
    expect(damage.join()).toContain("1 are there, and it is told that 2 are");
  });

  it("are written as a picture of the part that is shown", async () => {
    const { patched, first } = await register();
    const written = await writePicture(patched.kernel, first, new ExtractFolder(folder));
    expect(written).toEqual({ file: "fb0.png", missing: 0, why: undefined, isLast: false });
    const { width, height, lines } = decode(readFileSync(join(folder, "fb0.png")));
    expect([width, height]).toEqual([60, 40]);
    expect(lines).toEqual(whole());
  });

  it("have pixels of 16 bits too, each colour of which goes up to 255", async () => {
    const fields = {
      "var.bits_per_pixel": 16,
      "var.red.offset": 11,
      "var.red.length": 5,
      "var.green.offset": 5,
      "var.green.length": 6,
      "var.blue.length": 5,
    };
    const { patched, first, memory } = await register({ fields });
    const at = memory + BigInt(SHOWN.top * LINE + SHOWN.left * 2);
    await patched.set(at, Uint8Array.of(0x00, 0xf8, 0xe0, 0x07, 0x1f, 0x00, 0xff, 0xff));
    const [line] = await framebufferLines(patched.kernel, first).toArray();
    const colours = [255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 255];
    expect([...(line?.pixels ?? [])].slice(0, 16)).toEqual(colours);
  });

  it("have what is not in the dump transparent, and it is counted", async () => {
    const { patched, first, memory } = await register();
    await patched.remove(memory + PAGE);
    const { missing } = await writePicture(patched.kernel, first, new ExtractFolder(folder));
    // Lines 16 to 31 of its memory, of 60 pixels.
    expect(missing).toBe(16 * 60);
    const lines = whole();
    for (let y = 16 - SHOWN.top; y < 32 - SHOWN.top; y++) lines[y] = Array(240).fill(0);
    expect(decode(readFileSync(join(folder, "fb0.png"))).lines).toEqual(lines);
  });

  it("are found by their physical address where the kernel has them mapped nowhere", async () => {
    const { patched, memory } = await register();
    const place = await patched.kernel.memory.translate(memory);
    const physical = "physical" in place ? place.physical : 0;
    // (A page alone: those of the log need not be neighbours in physical memory.)
    const { first } = await register({ screen: 0n, fields: { "var.yoffset": 0, "var.yres": 16 } });
    const lines = await framebufferLines(patched.kernel, { ...first, physical: BigInt(physical) }).toArray();
    expect(lines.map(({ missing }) => missing)).toEqual(Array(16).fill(0));
    expect([...(lines[5]?.pixels ?? [])]).toEqual(whole()[5 - SHOWN.top]);
  });

  it("whose memory is a graphics card's make no file, and it is said why", async () => {
    const { patched, first } = await register({ screen: 0n, fields: { "fix.smem_start": 0xfd00_0000 } });
    const written = await writePicture(patched.kernel, first, new ExtractFolder(folder));
    expect(written).toEqual({
      file: undefined,
      missing: 2400,
      why: "framebuffer 0: its memory is not in the dump",
      isLast: false,
    });
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each([
    ["more pixels than any screen has", { "var.xres": 0xffff_ffff }, /4294967295 by 40 pixels can't be/],
    [
      "more lines than any screen has",
      { "var.xres": 1, "var.yres": 1 << 25, "fix.line_length": 12, "fix.smem_len": 0xffff_ffff },
      /1 by 33554432 pixels can't be/,
    ],
    ["more lines than its memory has", { "var.yres": 60 }, /larger than its memory of 12288 bytes/],
    [
      "lines that are shorter than what they show",
      { "fix.line_length": 100 },
      /lines of 100 bytes are too short/,
    ],
    [
      "an odd number of bits",
      { "var.bits_per_pixel": 12, "var.red.offset": 0 },
      /12 bits of a pixel are not drawn/,
    ],
    ["colours beyond its pixels", { "var.red.offset": 0xffff_fff0 }, /more bits than its pixels/],
    ["a palette", { "fix.visual": 3 }, /pseudocolor.*not drawn/],
    ["planes", { "fix.type": 1 }, /not packed \(type 1\)/],
  ])("with %s make no file, and it is said why", async (_, fields, why) => {
    const { patched, first } = await register({ fields });
    const written = await writePicture(patched.kernel, first, new ExtractFolder(folder));
    expect(written).toEqual({ file: undefined, missing: 0, why: expect.stringMatching(why), isLast: false });
    expect(readdirSync(folder)).toEqual([]);
  });

  it("write no more than the folder takes, and the one that is cut says so", async () => {
    const { patched, first } = await register();
    const small = new ExtractFolder(folder, 4096 + 100);
    expect(await writePicture(patched.kernel, first, small)).toEqual({
      file: "fb0.png",
      missing: 0,
      why: expect.stringContaining("no more than 4196 bytes"),
      isLast: true,
    });
  });
});
