/** Types of pages in every form that kernels have had, by what tells the forms apart. */
import { describe, expect, it } from "vitest";
import { type LinuxKernel, parseVmcoreinfo } from "../../../src/linux/index.js";
import { pageNames } from "../../../src/linux/pages/index.js";
import { handKernel } from "../../support/hand-kernel.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

const FLAGS = {
  PG_locked: 0,
  PG_lru: 5,
  PG_head: 6,
  PG_swapcache: 10,
  PG_checked: 10,
  __NR_PAGEFLAGS: 24,
  PG_beyond: 40,
};

function namesOf(types: HandTypes, free?: number) {
  const memory = new HandMemory(types);
  const text = free === undefined ? "" : `NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=${free}\n`;
  const vmcoreinfo = parseVmcoreinfo(new TextEncoder().encode(text));
  const kernel: LinuxKernel = Object.assign(handKernel(types, memory, { variables: {} }), { vmcoreinfo });
  return pageNames({ kernel, types, memory: kernel.memory });
}
const page = (...members: string[]) =>
  new HandTypes()
    .struct("page", ...members.map((name) => [name, "long unsigned int"] as const))
    .enumeration("pageflags", FLAGS);

/** What a kernel of each form has in `page_type` (include/linux/page-flags.h of those releases). */
const FORMS = [
  {
    name: "6.12, by its enumeration",
    free: undefined,
    types: page().enumeration("pagetype", {
      PGTY_buddy: 0xf0,
      PGTY_slab: 0xf5,
      PGTY_mapcount_underflow: 0xff,
    }),
    buddy: 0xf000_0000,
    slab: 0xf500_0000,
  },
  { name: "6.12, by VMCOREINFO", free: -268_435_456, types: page(), buddy: 0xf000_0000, slab: 0xf500_0000 },
  {
    name: "6.11",
    free: undefined,
    types: page().enumeration("pagetype", { PG_buddy: 0x4000_0000 }),
    buddy: 0xbfff_ffff,
    slab: 0xfdff_ffff,
  },
  { name: "6.11, by VMCOREINFO", free: -1_073_741_825, types: page(), buddy: 0xbfff_ffff, slab: 0xfdff_ffff },
  { name: "6.10", free: -129, types: page("memcg_data"), buddy: 0xffff_ff7f, slab: 0xffff_efff },
  { name: "6.1", free: -129, types: page("memcg_data"), buddy: 0xffff_ff7f, table: 0xffff_fdff },
  { name: "5.10", free: -129, types: page("mem_cgroup"), buddy: 0xffff_ff7f, table: 0xffff_fbff },
];

describe("types of pages", () => {
  for (const { name, free, types, ...values } of FORMS) {
    it(`are named as Linux ${name} has them; a page that nobody or somebody maps has none`, () => {
      const names = namesOf(types, free);
      for (const [type, value] of Object.entries(values)) expect(names.type(value as number)).toBe(type);
      for (const mapped of [0xffff_ffff, 0, 1, 1000]) expect(names.type(mapped)).toBeUndefined();
    });
  }
});

describe("flags of pages", () => {
  it("have the first name of their bit, and no name where other things are kept", () => {
    const names = namesOf(page());
    expect(names.flags((1n << 0n) | (1n << 10n) | (1n << 40n) | (1n << 63n))).toEqual([
      "locked",
      "swapcache",
    ]);
    expect(names.has(1n << 10n, "checked")).toBe(true);
    expect(names.has(~0n, "hwpoison")).toBe(false);
    expect([names.knows("head"), names.knows("beyond")]).toEqual([true, false]);
  });
});
