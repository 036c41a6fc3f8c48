/** /dev/mem: a file of that form, and what the real one says. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openDevmem, readPieces } from "../../../connectors/devmem/open-devmem.js";
import { Batch, faultState } from "../../../src/io/index.js";
import { sourceSuite } from "../../suite/index.js";
import { pattern } from "../../support/bytes.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-devmem-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const path = join(folder, "mem");
const iomem = join(folder, "iomem");
writeFileSync(
  iomem,
  "00000000-00000fff : Reserved\n00001000-0009ffff : System RAM\n000f0000-000fffff : System ROM\n" +
    "00100000-001fffff : System RAM\n  00110000-0011ffff : Kernel code\n",
);

for (const write of [false, true]) {
  sourceSuite(`memory of a machine through a device${write ? ", to be written" : ""}`, () => {
    writeFileSync(path, pattern(0x20_0000, 1));
    return {
      source: openDevmem(path, { write, iomem }),
      base: 0x9_c010,
      truth: () => new Uint8Array(readFileSync(path)).subarray(0x9_c010, 0x10_8000),
      bad: [{ start: 0x3ff0, end: 0x10_0000 - 0x9_c010, state: "outside" }],
      writable: write,
    };
  });
}

it("RAM is what the system says, not what is in between", () => {
  writeFileSync(path, pattern(0x20_0000, 1));
  expect([...openDevmem(path, { iomem }).ranges()]).toEqual([
    { start: 0x1000, end: 0xa0000 },
    { start: 0x10_0000, end: 0x20_0000 },
  ]);
});

it("a page that is refused costs only what of it is RAM", async () => {
  const odd = join(folder, "odd");
  const list = join(folder, "odd-iomem");
  writeFileSync(odd, pattern(0x10_1000, 1).subarray(0, 0x9_f000));
  writeFileSync(list, "00001000-0009fbff : System RAM\n0009fe00-0009ffff : System RAM\n");
  const source = openDevmem(odd, { iomem: list });
  // As a live device gets it: uncut.
  const batch = new Batch();
  batch.reset("read", 1);
  batch.push(0x9_eff0, 0, new Uint8Array(0x1020), 0, 0x1020);
  source.transferSync?.(batch);
  expect(batch.faults.map(({ start, end, fault }) => [start, end, faultState(fault)])).toEqual([
    [0x10, 0xc10, "io"],
    [0xc10, 0xe10, "outside"],
    [0xe10, 0x1010, "io"],
    [0x1010, 0x1020, "outside"],
  ]);
  source.close?.();
});

it.each<[string, () => unknown, string, RegExp]>([
  [
    "a device that is not there",
    () => openDevmem(join(folder, "none"), { iomem }),
    "NO_DEVMEM",
    /CONFIG_DEVMEM/,
  ],
  ["one that is hidden", () => openDevmem("/dev/null", { iomem }), "NO_DEVMEM", /containers/],
  ["no list of RAM", () => openDevmem(path, { iomem: join(folder, "none") }), "NO_IOMEM", /as root/],
  ["another system", () => openDevmem("", {}, "win32"), "NOT_ON_PLATFORM", /this is win32/],
])("%s is told", (_, what, code, message) => {
  expect(what).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
});

it("a list of RAM that hides its addresses is told", () => {
  const hidden = join(folder, "hidden");
  writeFileSync(hidden, "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n");
  expect(() => openDevmem(path, { iomem: hidden })).toThrow(
    expect.objectContaining({ code: "NO_IOMEM", message: expect.stringMatching(/save it again as root$/) }),
  );
});

it("the system's own list that hides its addresses is told with whom to run as, and nothing is to be saved", () => {
  const read = () => "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n";
  expect(() => readPieces("devmem", "/proc/iomem", read)).toThrow(
    expect.objectContaining({
      code: "NO_IOMEM",
      message:
        "devmem: /proc/iomem, which says where RAM is, hides the addresses from users without rights (they are all 0): run as root",
    }),
  );
});
