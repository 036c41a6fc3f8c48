/** The kernel's log since 5.10, written by hand: layouts that can't be, and records that claim one another's text. */
import { describe, expect, it } from "vitest";
import { Io, IoSequence } from "../../../src/io/index.js";
import type { LinuxKernel } from "../../../src/linux/kernel.js";
import { LogLayout } from "../../../src/linux/log/log-layout.js";
import { readPrintkRing } from "../../../src/linux/log/printk-ring.js";
import type { Damage } from "../../../src/linux/objects/damage.js";
import { TypesError } from "../../../src/linux/types/type-table.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

const SIZES = {
  printk_ringbuffer: 80,
  prb_desc_ring: 48,
  prb_data_ring: 24,
  prb_desc: 24,
  prb_data_blk_lpos: 16,
  printk_info: 88,
  dev_printk_info: 64,
};
const OFFSETS = {
  "printk_ringbuffer.desc_ring": 0,
  "printk_ringbuffer.text_data_ring": 48,
  "prb_desc_ring.count_bits": 0,
  "prb_desc_ring.descs": 8,
  "prb_desc_ring.infos": 16,
  "prb_desc_ring.head_id": 24,
  "prb_desc_ring.tail_id": 32,
  "prb_data_ring.size_bits": 0,
  "prb_data_ring.data": 8,
  "prb_desc.state_var": 0,
  "prb_desc.text_blk_lpos": 8,
  "prb_data_blk_lpos.begin": 0,
  "prb_data_blk_lpos.next": 8,
  "printk_info.seq": 0,
  "printk_info.ts_nsec": 8,
  "printk_info.text_len": 16,
  "printk_info.caller_id": 20,
  "printk_info.dev_info": 24,
  "dev_printk_info.subsystem": 0,
  "dev_printk_info.device": 16,
};
const COUNT_BITS = 6;
const TEXT_BITS = 10;

/** More than a year, which a `number` of seconds has to some 4 ns. */
const STAMP = 40_000_000_000_000_001n;

type Block = readonly [begin: number, next: number, text: string];

/** A ring of these records. */
function ringOf(blocks: readonly Block[]): { memory: HandMemory; at: bigint } {
  const memory = new HandMemory(new HandTypes());
  const [at, descs, infos, text] = [80, 24 << COUNT_BITS, 88 << COUNT_BITS, 1 << TEXT_BITS].map((size) =>
    memory.take(size),
  ) as [bigint, bigint, bigint, bigint];
  memory.put(at, COUNT_BITS, 4);
  for (const [i, value] of [descs, infos, blocks.length - 1, 0].entries()) {
    memory.put(at + BigInt(8 + 8 * i), value);
  }
  memory.put(at + 48n, TEXT_BITS, 4);
  memory.put(at + 56n, text);
  for (const [i, [begin, next, content]] of blocks.entries()) {
    const desc = descs + BigInt(24 * i);
    memory.put(desc, (2n << 62n) | BigInt(i));
    memory.put(desc + 8n, begin);
    memory.put(desc + 16n, next);
    const info = infos + BigInt(88 * i);
    memory.put(info, i);
    memory.put(info + 8n, STAMP + BigInt(i));
    memory.put(info + 16n, content.length, 2);
    memory.bytes(text + BigInt(begin) + 8n, new TextEncoder().encode(content));
  }
  return { memory, at };
}

function read(
  { memory, at }: ReturnType<typeof ringOf>,
  sizes: Partial<typeof SIZES> = {},
  offsets: Partial<typeof OFFSETS> = {},
) {
  const vmcoreinfo = {
    sizes: new Map(Object.entries({ ...SIZES, ...sizes })),
    offsets: new Map(Object.entries({ ...OFFSETS, ...offsets })),
  };
  const layout = new LogLayout({ vmcoreinfo } as unknown as LinuxKernel, undefined);
  const damage: Damage[] = [];
  const { scheduler } = memory.space;
  const list = IoSequence.of(scheduler, readPrintkRing, memory.space, layout, at, (each: Damage) =>
    damage.push(each),
  );
  function* all() {
    return yield* list.toArray();
  }
  const records = Io.of(scheduler, all).sync();
  return {
    records: records.map((each) => each.text),
    stamps: records.map((each) => each.nanoseconds),
    damage,
  };
}

const SOUND: Block[] = [
  [0, 24, "first"],
  [24, 64, "the second"],
  [64, 80, "third"],
];

describe("a ring of records", () => {
  it("gives its texts in order", () => {
    expect(read(ringOf(SOUND))).toMatchObject({ records: ["first", "the second", "third"], damage: [] });
  });

  it("gives stamps to the nanosecond, however long the machine has run", () => {
    expect(read(ringOf(SOUND)).stamps).toEqual([STAMP, STAMP + 1n, STAMP + 2n]);
  });

  it.each(Object.keys(SIZES) as (keyof typeof SIZES)[])(
    "is refused where VMCOREINFO says that %s is too small for its members",
    (struct) => {
      expect(() => read(ringOf(SOUND), { [struct]: 8 })).toThrow(TypesError);
      expect(() => read(ringOf(SOUND), { [struct]: 8 })).toThrow("can't be where VMCOREINFO says");
    },
  );

  it.each(Object.keys(OFFSETS) as (keyof typeof OFFSETS)[])(
    "is refused where VMCOREINFO has %s beyond the end",
    (member) => {
      expect(() => read(ringOf(SOUND), {}, { [member]: 4096 })).toThrow(TypesError);
    },
  );

  it("ends once its records have more text than the ring, which they may all claim", () => {
    const greedy = Array.from({ length: 60 }, (): Block => [0, 512, "x".repeat(500)]);
    const { records, damage } = read(ringOf(greedy));
    // Two of 504 bytes have room in 1024.
    expect(records.length).toBe(2);
    expect(damage).toMatchObject([{ what: "the kernel's log", reason: "too long" }]);
  });
});
