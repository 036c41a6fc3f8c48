import { expect, test } from "vitest";
import { open } from "../../connectors/index.js";

test("a kernel whose target was closed says that its memory is gone, and not only that it has no types", async () => {
  const machine = await open("fixtures/linux-6.1-x86_64.kdump");
  const linux = await machine.linux();
  await machine.close();
  await expect(linux.tasks().toArray()).rejects.toThrow(/kallsyms.*\(gone\)/);
});
