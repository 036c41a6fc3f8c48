import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseVmcoreinfo, vmcoreinfoStart } from "../../../src/linux/find/vmcoreinfo.js";

const bytesOf = (text: string) => Uint8Array.from([...text].map((c) => c.charCodeAt(0)));

/** Shaped as a Debian 6.1 kernel's, cut short. */
const TEXT = `OSRELEASE=6.1.0-56-cloud-amd64
BUILD-ID=c1f4a5a8f1b8a2e7d4a0b5b0a2b8f37be4cb3cd2
PAGESIZE=4096
SYMBOL(init_uts_ns)=ffffffff9d01bf80
OFFSET(uts_namespace.name)=0
SYMBOL(swapper_pg_dir)=ffffffff9d010000
SIZE(page)=64
LENGTH(zone.free_area)=11
NUMBER(phys_base)=-299892736
NUMBER(pgtable_l5_enabled)=0
NUMBER(VMALLOC_START)=0xffff9fc000000000
KERNELOFFSET=1a800000
CRASHTIME=1700000000
`;

describe("parsing VMCOREINFO", () => {
  it("reads every kind of line", () => {
    const info = parseVmcoreinfo(bytesOf(`${TEXT}\0\0\0OSRELEASE=behind`));
    expect(info.release).toBe("6.1.0-56-cloud-amd64");
    expect(info.buildId).toBe("c1f4a5a8f1b8a2e7d4a0b5b0a2b8f37be4cb3cd2");
    expect(info.pageSize).toBe(4096);
    expect(info.kernelOffset).toBe(0x1a800000n);
    expect(info.crashTime).toBe(1700000000n);
    expect(info.symbols.get("swapper_pg_dir")).toBe(0xffffffff9d010000n);
    expect(info.numbers.get("phys_base")).toBe(-299892736n);
    expect(info.numbers.get("VMALLOC_START")).toBe(0xffff9fc000000000n);
    expect(info.offsets.get("uts_namespace.name")).toBe(0);
    expect(info.sizes.get("page")).toBe(64);
    expect(info.lengths.get("zone.free_area")).toBe(11);
    expect(info.unknown).toEqual([]);
    expect(info.text).toBe(TEXT);
  });

  it("keeps lines that it does not know, or whose value is nonsense, and reads the others", () => {
    const info = parseVmcoreinfo(
      bytesOf(
        "OSRELEASE=6\nSYMBOL(x)=zz\nNUMBER()=1\nPAGESIZE=-1\n\x01junk\nSYMBOL(y)=10000000000000000\nSIZE(a)=8",
      ),
    );
    expect(info.release).toBe("6");
    expect(info.sizes.get("a")).toBe(8);
    expect(info.unknown).toEqual([
      "SYMBOL(x)=zz",
      "NUMBER()=1",
      "PAGESIZE=-1",
      "\x01junk",
      "SYMBOL(y)=10000000000000000",
    ]);
  });

  it("is not led astray by keys that are names of object members", () => {
    const info = parseVmcoreinfo(bytesOf("constructor=1\n__proto__=2\nSYMBOL(__proto__)=3\ntoString=4"));
    expect(info.unknown).toEqual(["constructor=1", "__proto__=2", "toString=4"]);
    expect(info.symbols.get("__proto__")).toBe(3n);
  });

  it("takes any bytes, and at most 64 KiB of them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
        parseVmcoreinfo(bytes);
      }),
    );
    expect(parseVmcoreinfo(new Uint8Array(1 << 20).fill(65)).text.length).toBe(65536);
  });

  it("gives back any symbols", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-z_]{1,20}$/), fc.bigInt(0n, 2n ** 64n - 1n)),
        (symbols) => {
          const lines = Object.entries(symbols).map(
            ([name, value]) => `SYMBOL(${name})=${value.toString(16)}\n`,
          );
          expect([...parseVmcoreinfo(bytesOf(lines.join(""))).symbols]).toEqual(Object.entries(symbols));
        },
      ),
    );
  });
});

describe("recognising a page that holds VMCOREINFO", () => {
  const note = () => {
    const page = new Uint8Array(4096);
    page.set([11, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]);
    page.set(bytesOf("VMCOREINFO\0"), 12);
    page.set(bytesOf(TEXT), 24);
    return page;
  };

  it("knows the text itself and the ELF note", () => {
    expect(vmcoreinfoStart(bytesOf(`....${TEXT}`), 4)).toBe(0);
    expect(vmcoreinfoStart(note(), 0)).toBe(24);
  });

  it("knows nothing else, nor a text that is cut off", () => {
    expect(vmcoreinfoStart(bytesOf("OSRELEAS"), 0)).toBe(-1);
    expect(vmcoreinfoStart(new Uint8Array(4096), 0)).toBe(-1);
    expect(vmcoreinfoStart(note().subarray(0, 30), 0)).toBe(-1);
    expect(vmcoreinfoStart(bytesOf(TEXT), TEXT.length)).toBe(-1);
  });
});
