/** The fixture as if it were dumped again some time later, for examples that compare two dumps. */
import { convert, open } from "../../connectors/index.js";
import { struct, u64 } from "../../src/memory/index.js";

const LIST_HEAD = struct({ next: u64, previous: u64 });

/** Writes an ELF core to `path`, in which the module `dummy` is on no list any more. */
export async function writeLaterDump(path: string): Promise<void> {
  const fixture = await open("fixtures/linux-6.1-x86_64.kdump", { kernel: "none" });
  await convert(fixture, path, { to: "elf", force: true });
  await fixture.close();
  const later = await open(path, { write: true });
  const linux = await later.linux();
  const modules = await linux.object("modules", "list_head");
  for await (const module of modules.$.list("module", "list")) {
    if ((await module.name.$.read()) !== "dummy") continue;
    const { next, previous } = await linux.memory.read(LIST_HEAD, await module.list.$.address());
    await linux.memory.write(u64, previous, next);
    await linux.memory.write(u64, next + 8n, previous);
  }
  await later.close();
}
