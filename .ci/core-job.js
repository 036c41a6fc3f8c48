// What .ci/check-core.mjs runs in the bare realm, with memtool/core as `core`: a script whose value is a promise of "ok".
(() => {
  const { AddressRanges, MemoryIo, MemtoolError, SourceIo, all, readInto, readPartial, withSplitting } = core;
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
  return (async () => {
    for (const space of spaces) {
      const reads = await all([readInto(space, 3, 2), readInto(space, 90, 1)]);
      check("two reads at once", reads.join(";"), "3,4;90");
    }
    return "ok";
  })();
})();
