import fc from "fast-check";
import { expect, it } from "vitest";
import { toJson } from "../../cli/render/escape.js";
import { translationJson, translationText } from "../../cli/render/translation.js";
import { TranslationLines } from "../../cli/render/translation-lines.js";
import { Scheduler } from "../../src/io/index.js";
import { type TranslationColumns, VirtualMemory } from "../../src/paging/index.js";
import { DummyMachine, randomBits } from "../support/dummy-machine.js";

function lines(columns: TranslationColumns, json: boolean): string {
  const results = new TranslationLines(json);
  let text = "";
  for (let row = 0; row < columns.length; ) {
    const from = row;
    row = results.format(columns, row);
    expect(row).toBeGreaterThan(from);
    text += Buffer.from(results.bytes).toString();
  }
  return text;
}

/** One by one, as results are rendered elsewhere. */
function slowLines(columns: TranslationColumns, json: boolean): string {
  return Array.from({ length: columns.length }, (_, row) => {
    const result = columns.row(row);
    return `${json ? toJson(translationJson(result)) : translationText(result)}\n`;
  }).join("");
}

/** Pages of every size and right, and everything that can be wrong with an address. */
function machine(seed: number): { memory: VirtualMemory; addresses: bigint[] } {
  const dummy = new DummyMachine({ seed, frames: 200, base: 0x2_0000_0000 });
  const random = randomBits(seed + 1);
  const flag = () => random() % 2 === 0;
  const addresses = [0n, 0x8000_0000_0000n, 2n ** 64n - 1n, 0xffff_7fff_ffff_ffffn];
  for (let i = 0; i < 40; i++) {
    const level = 1 + (random() % 3);
    const size = 1n << BigInt(12 + 9 * (level - 1));
    // A root entry for each, so that none lies under what another one left there.
    const top = BigInt(12 * i + (random() % 12)) << 39n;
    let virtual = top | (((BigInt(random()) << 7n) | BigInt(random() & 0x7f)) & 0x7f_ffff_ffffn);
    virtual -= virtual % size;
    if (virtual >= 1n << 47n) virtual |= 0xffff_0000_0000_0000n;
    const at = dummy.entryAt(virtual, level);
    const kind = random() % 6;
    if (kind === 0) dummy.writeEntry(at, (BigInt(random()) << 32n) | BigInt(random() & ~1));
    else if (kind === 1) dummy.writeEntry(at, BigInt(2 ** 40 + 4096 * (random() % 100)) | 7n);
    else if (kind === 2 && level > 1) dummy.writeEntry(at, 0x83n | (1n << 14n));
    else {
      const rights = { writable: flag(), user: flag(), executable: flag(), global: flag() };
      const physical = (2 ** 30 * (random() % 4000)) as number;
      dummy.map(virtual, rights, level, level === 1 ? physical + 4096 * (random() % 1000) : physical);
    }
    addresses.push(virtual + (BigInt(random()) % size), virtual + size);
  }
  const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
  return { memory, addresses: addresses.map((address) => BigInt.asUintN(64, address)) };
}

it("lines of columns are those of single results, byte for byte, as text and as JSON", () => {
  const states = new Set<string>();
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 30 }), fc.boolean(), (seed, json) => {
      const { memory, addresses } = machine(seed);
      const columns = memory.translateMany(BigUint64Array.from(addresses)).sync();
      for (let row = 0; row < columns.length; row++) states.add(columns.row(row).state ?? "mapped");
      expect(lines(columns, json)).toBe(slowLines(columns, json));
    }),
    { numRuns: 60 },
  );
  expect([...states].sort()).toEqual([
    "malformed",
    "mapped",
    "non-canonical",
    "not-present",
    "table-missing",
  ]);
});

it("more lines than fit into its memory come in several parts", () => {
  const { memory, addresses } = machine(7);
  const many = BigUint64Array.from({ length: 16_384 }, (_, i) => addresses[i % addresses.length] as bigint);
  const columns = memory.translateMany(many).sync();
  for (const json of [false, true]) expect(lines(columns, json)).toBe(slowLines(columns, json));
});
