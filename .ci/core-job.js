// What .ci/check-core.mjs runs in the bare realm: a script whose last value must be "ok". `core` is memtool/core.
(() => {
  const { MemtoolError, memoryIo } = core;
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => i);
  const io = memoryIo(bytes);
  const read = io.read(16, 8).sync();
  if (read.join() !== "16,17,18,19,20,21,22,23") return `read ${read.join()}`;
  try {
    io.read(60, 8).sync();
    return "a read past the end didn't fail";
  } catch (error) {
    if (!(error instanceof MemtoolError)) return `a read past the end threw ${error}`;
  }
  return "ok";
})();
