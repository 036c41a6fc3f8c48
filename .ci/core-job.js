// What .ci/check-core.mjs runs in the bare realm, with memtool/core as `core`, and the host's WebAssembly or nothing as
// `wasm`: a script whose value is a promise of "ok".
(() => {
  const { AddressRanges, MemoryIo, MemtoolError, SourceIo, all, readInto, readPartial, withSplitting } = core;
  const { TableCache, VirtualMemory, dumpFile, openDump, struct, u16, u64 } = core;
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);

  /** A connector over `bytes`. */
  const source = {
    name: "bare",
    supports: { write: false, live: false },
    ranges: () => AddressRanges.single(0, bytes.length),
    transferSync(batch) {
      for (let row = 0; row < batch.length; row++) {
        const at = batch.address(row);
        batch.bytes(row).set(bytes.subarray(at, at + batch.lengths[row]));
        batch.done(row);
      }
    },
  };

  const check = (what, actual, expected) => {
    if (String(actual) !== String(expected)) throw new Error(`${what}: ${actual} instead of ${expected}`);
  };

  /** The same through memory and through a source, whose traffic a layer splits. */
  const spaces = [new MemoryIo(bytes), withSplitting(new SourceIo(source), 4)];
  for (const space of spaces) {
    check("a read", readInto(space, 14, 6).sync(), "14,15,16,17,18,19");
    check("a hole", readPartial(space, 250, 16).sync().holes.length, 1);
    try {
      readInto(space, 250, 16).sync();
      throw new Error("a read past the end didn't fail");
    } catch (error) {
      if (!(error instanceof MemtoolError)) throw error;
    }
  }

  /** A dump with page tables: a root at 0x1000, three tables, and a page at 0x5000 that is mapped at `virtual`. */
  const virtual = 0xffff888000203000n;
  const ram = new BigUint64Array(0x6000 / 8);
  const level = (table, index, entry) => {
    ram[table / 8 + index] = entry;
  };
  level(0x1000, 273, 0x2003n);
  level(0x2000, 0, 0x3003n);
  level(0x3000, 1, 0x4003n);
  level(0x4000, 3, 0x5001n);
  ram[0x5010 / 8] = 0x1122334455667788n;
  const dump = new MemoryIo(ram);
  const image = openDump(dumpFile(dump, ram.byteLength, "bare")).sync();
  const tableCache = new TableCache({ wasm, compileAfter: 1 });
  const memory = new VirtualMemory(image.io, { root: 0x1000, tableCache });
  check("the format", image.format, "raw");
  check("a translation", memory.translate(virtual + 0x10n).sync().physical, 0x5010);
  const columns = memory.translateMany(BigUint64Array.of(virtual + 0x10n, virtual + 0x1000n)).sync();
  check("a column", columns.physical, "20496,-1");
  check("generated code", tableCache.compiled, wasm !== undefined);
  const record = memory.read(struct({ first: u64, second: u16 }), virtual + 0x10n).sync();
  check("a structure", record.first, 0x1122334455667788n);
  const { holes } = memory.readPartial(virtual + 0xff0n, 32).sync();
  check(
    "a page fault",
    holes.map(({ start, end, state }) => `${start}-${end} ${state}`),
    "16-32 not-present",
  );
  check("the mapped runs", memory.maps().toArray().sync().length, 1);

  return (async () => {
    for (const space of spaces) {
      const reads = await all([readInto(space, 3, 2), readInto(space, 90, 1)]);
      check("two reads at once", reads.join(";"), "3,4;90");
    }
    return "ok";
  })();
})();
