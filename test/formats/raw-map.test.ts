import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseRawMap } from "../../src/formats/index.js";

const GIB = 2 ** 30;

/** /proc/iomem as Linux's r_show prints it: `%*s%0*llx-%0*llx : %s`, two blanks a level, ends inclusive. */
const IOMEM = `00000000-00000fff : Reserved
00001000-0009fbff : System RAM
0009fc00-0009ffff : Reserved
000a0000-000bffff : PCI Bus 0000:00
000f0000-000fffff : Reserved
  000f0000-000fffff : System ROM
00100000-bffdffff : System RAM
  2000000-30025c0 : Kernel code
  2000000-2ffffff : System RAM
bffe0000-bfffffff : Reserved
100000000-13fffffff : System RAM
`;

describe("a memory map", () => {
  it("of a QEMU guest with a PCI hole, as one writes it", () => {
    const expected = [
      { start: 0, end: 3 * GIB, offset: 0 },
      { start: 4 * GIB, end: 5 * GIB, offset: 3 * GIB },
    ];
    for (const text of [
      "0-0xc0000000@0,0x100000000-0x140000000@0xc0000000",
      "0-3G@0,4G-5G@3G",
      "0 - 3GiB\n4gib-5g @ 3_221_225_472 # above the hole\n\n",
      "# two ranges\r\n0x0-0xC000_0000,\r\n4194304K-5120M\r\n",
    ]) {
      expect(parseRawMap(text), text).toEqual(expected);
    }
  });

  it("without offsets goes on where the range before it ended in the file", () => {
    expect(parseRawMap("0x1000-0x3000@0x40,0x8000-0x9000,0x100000-0x100800")).toEqual([
      { start: 0x1000, end: 0x3000, offset: 0x40 },
      { start: 0x8000, end: 0x9000, offset: 0x2040 },
      { start: 0x100000, end: 0x100800, offset: 0x3040 },
    ]);
  });

  it("may be the text of /proc/iomem: System RAM of the outermost level, as LiME writes it", () => {
    expect(parseRawMap(IOMEM)).toEqual([
      { start: 0x1000, end: 0x9fc00, offset: 0 },
      { start: 0x100000, end: 0xbffe0000, offset: 0x9ec00 },
      { start: 4 * GIB, end: 5 * GIB, offset: 0x9ec00 + 0xbffe0000 - 0x100000 },
    ]);
  });

  it("of /proc/iomem that was saved without rights says so", () => {
    const hidden = IOMEM.replace(/[0-9a-f]{5,}-[0-9a-f]{5,}/g, "00000000-00000000");
    expect(() => parseRawMap(hidden, "iomem.txt")).toThrow(/^iomem\.txt: .*all 0.* as root/);
  });

  it.each([
    ["", "there is no range in it"],
    ["# nothing\n,\n", "there is no range in it"],
    ["00000000-00000fff : Reserved", "no line in it is System RAM"],
    ["0-3G@0\n4G-5G@3G\n6G+1G", 'line 3: "6G+1G" is no range: write start-end@offset'],
    ["0-1000@0x", '"0-1000@0x" is no range'],
    ["-5-10", "is no range"],
    ["1000-0x10", "ends where it begins or before that; ends are exclusive"],
    ["5-5", "ends where it begins"],
    ["0-0x20000000000000", "0x20000000000000 is 2^53 or more"],
    ["0-9999999999T", "9999999999T is 2^53 or more"],
    ["0-0x_", "or no number"],
    [`0-${"9".repeat(400)}`, "9… is 2^53 or more"],
  ])("that is none is refused: %j", (text, problem) => {
    expect(() => parseRawMap(text)).toThrow(
      expect.objectContaining({ code: "BAD_MEMORY_MAP", message: expect.stringContaining(problem) }),
    );
    expect(() => parseRawMap(text)).toThrow(/^memory map: .{1,200}$/);
  });

  it("of any text is ranges or that error", () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom("0x1", "-", "@", ",", "\n", "3G", "1", " : System RAM"),
    );
    fc.assert(
      fc.property(
        fc.array(piece).map((pieces) => pieces.join("")),
        (text) => {
          try {
            for (const { start, end, offset } of parseRawMap(text)) {
              expect(end).toBeGreaterThan(start);
              expect(Number.isSafeInteger(start + end + offset) || end > 2 ** 51).toBe(true);
            }
          } catch (error) {
            expect(error).toMatchObject({ code: "BAD_MEMORY_MAP" });
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("comes back from its own text", () => {
    const range = fc
      .tuple(fc.nat(2 ** 30), fc.integer({ min: 1, max: 2 ** 30 }), fc.nat())
      .map(([start, length, offset]) => ({ start, end: start + length, offset }));
    fc.assert(
      fc.property(
        fc.array(range, { minLength: 1 }),
        fc.constantFrom(",", "\n", ", "),
        (ranges, separator) => {
          const text = ranges.map(({ start, end, offset }) => `${start}-0x${end.toString(16)}@${offset}`);
          expect(parseRawMap(text.join(separator))).toEqual(ranges);
        },
      ),
    );
  });
});
