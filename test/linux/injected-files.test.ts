/** What is cached of mapped files is read once for a file, however often it is open. */
import { expect, test } from "vitest";
import { Io, type Routine } from "../../src/io/index.js";
import { type Damage, listVmas } from "../../src/linux/index.js";
import { CachedPages } from "../../src/linux/injected/modified-pages.js";
import { kernelData } from "../../src/linux/kernel-data.js";
import { offsetOf } from "../../src/linux/objects/record.js";
import { findPageArray } from "../../src/linux/pages/index.js";
import { PatchedKernel } from "../support/patched-kernel.js";

test("a page of a file that is open again is found without its array, which was read for the first", async () => {
  const patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
  try {
    const { kernel } = patched;
    const types = await kernel.types();
    const word = async (at: bigint) => {
      const bytes = await kernel.memory.read(at, 8);
      return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    };
    const damage: Damage[] = [];
    const drive = <T>(routine: () => Routine<T>) => Io.of(kernel.memory.scheduler, routine);
    const pages = await drive(function* () {
      const data = yield* kernelData(kernel);
      const report = (each: Damage) => damage.push(each);
      return new CachedPages(data, yield* findPageArray(data, report), report);
    });
    const vmas = await listVmas(kernel, { pid: 1 }).toArray();
    const vma = vmas.find(({ path }) => path?.includes("busybox"));
    const file = await word((vma?.address ?? 0n) + BigInt(offsetOf(types, "vm_area_struct", "vm_file")));
    const mapping = await word(file + BigInt(offsetOf(types, "file", "f_mapping")));
    const first = await drive(() => pages.at(file, 0));
    expect(first).toBeGreaterThan(0);
    // The same file, open once more; and its array gone.
    const again = (await kernel.symbol("__log_buf")).address;
    await patched.setPointer(again + BigInt(offsetOf(types, "file", "f_mapping")), mapping);
    const array = offsetOf(types, "address_space", "i_pages.xa_head");
    await patched.remove((await word(mapping + BigInt(array))) - 2n);
    expect(await drive(() => pages.at(again, 0))).toBe(first);
    expect(damage).toEqual([]);
  } finally {
    await patched.close();
  }
});
