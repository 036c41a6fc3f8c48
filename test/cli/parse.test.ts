import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../cli/errors.js";
import { parseAddress, parseByte, parseHex, parseReadLine, parseRoot, parseSize } from "../../cli/parse.js";

const usage = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as UsageError).message;
  }
  throw new Error("no usage error");
};

describe("addresses", () => {
  it.each<[string, bigint | string, bigint]>([
    ["0x1000", 0x1000n, 0n],
    ["0XfF", 255n, 0n],
    ["4096", 4096n, 0n],
    ["0xffff_8880_0000_0000", 0xffff888000000000n, 0n],
    ["init_task", "init_task", 0n],
    ["init_task+0x10", "init_task", 16n],
    ["swapper_pg_dir-0x1000", "swapper_pg_dir", -0x1000n],
    ["init_task+0x10-8+1", "init_task", 9n],
    ["foo.isra.0+1", "foo.isra.0", 1n],
    ["0x10-0x10", 16n, -16n],
    ["0xffffffffffffffff", 2n ** 64n - 1n, 0n],
  ])("%s", (text, base, offset) => {
    expect(parseAddress(text)).toEqual({ text, base, offset });
  });

  it.each([
    ["", "not an address"],
    ["0x", "not an address"],
    ["0x_", "not an address"],
    ["0x__1", "not an address"],
    ["1_", "not an address"],
    ["12ab", "hexadecimal is written 0x12ab"],
    ["-5", "not an address"],
    ["a b", "not an address"],
    ["init_task+", "not an address"],
    ["init_task+foo", "not an address"],
    ["init_task*2", "not an address"],
    ["0x10000000000000000", "2^64 or more"],
    ["0xffffffffffffffff+1", "2^64 or more"],
    ["1-2", "negative"],
    [`${"a".repeat(2000)}`, "not an address"],
    [`0x1${"+1".repeat(600)}`, "not an address"],
  ])("%s is refused", (text, message) => {
    expect(usage(() => parseAddress(text))).toContain(message);
  });

  it("any text is an address or a usage error", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-fx+_-]{1,30}$/)), (text) => {
        try {
          parseAddress(text);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
        }
      }),
    );
  });

  it("any sum comes out", () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, 2n ** 63n),
        fc.bigInt(0n, 2n ** 62n),
        fc.bigInt(0n, 2n ** 62n),
        (base, plus, minus) => {
          fc.pre(base + plus >= minus);
          const { base: parsed, offset } = parseAddress(
            `0x${base.toString(16)}+${plus}-0x${minus.toString(16)}`,
          );
          expect((parsed as bigint) + offset).toBe(base + plus - minus);
        },
      ),
    );
  });
});

describe("lengths, bytes and roots", () => {
  it.each([
    ["0", 0n],
    ["0x10", 16n],
    ["4K", 4096n],
    ["4k", 4096n],
    ["1M", 1048576n],
    ["2GiB", 2n ** 31n],
    ["1T", 2n ** 40n],
    ["0x10000000000000000", 2n ** 64n],
  ])("%s bytes", (text, size) => {
    expect(parseSize(text)).toBe(size);
  });

  it.each(["", "x", "-1", "1.5K", "K", "0x", "0x_", "0x1_", "1__0", "4KK", "1e3", "0x10K"])(
    '"%s" is no length',
    (text) => {
      expect(usage(() => parseSize(text))).toContain("not a length");
    },
  );

  it("a length beyond the address space is refused", () => {
    expect(usage(() => parseSize("0x10000000000000001"))).toContain("out of range");
    expect(usage(() => parseSize("99999999999T"))).toContain("out of range");
  });

  it("a byte is 0 to 255", () => {
    expect([parseByte("0"), parseByte("255"), parseByte("0xff"), parseByte("0x0")]).toEqual([0, 255, 255, 0]);
    for (const text of ["256", "-1", "0x100", "", "a", "1e1"])
      expect(usage(() => parseByte(text))).toContain("byte");
  });

  it("hex is two digits a byte", () => {
    expect([...parseHex("00ff")]).toEqual([0, 255]);
    expect([...parseHex("0xde ad_be\nef")]).toEqual([0xde, 0xad, 0xbe, 0xef]);
    expect(usage(() => parseHex("abc"))).toContain("two each");
    expect(usage(() => parseHex("zz"))).toContain('not hex: "z"');
    expect(usage(() => parseHex(""))).toContain("--from FILE");
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), (bytes) => {
        expect(parseHex(Buffer.from(bytes).toString("hex"))).toEqual(Uint8Array.from(bytes));
      }),
    );
  });

  it("a root drops a CR3's flags", () => {
    // Of PAE, bits 5 to 11 are part of the address: the format tells what they are.
    expect(parseRoot("0x80000000055df806")).toBe(0x55df800);
    expect(parseRoot("4096")).toBe(4096);
    expect(usage(() => parseRoot("swapper_pg_dir"))).toContain("physical address");
  });
});

describe("lines of read --stdin", () => {
  it("are an address and perhaps a length", () => {
    expect(parseReadLine(" init_task  0x10 \r")).toEqual({
      address: { text: "init_task", base: "init_task", offset: 0n },
      length: 16n,
    });
    expect(parseReadLine("0x5")?.length).toBeUndefined();
    expect(parseReadLine("   ")).toBeUndefined();
    expect(parseReadLine("# a comment")).toBeUndefined();
    expect(usage(() => parseReadLine("1 2 3"))).toContain("more than ADDRESS");
  });
});
