/** Files in the memory of the committed dump. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../../connectors/index.js";
import {
  type CachedFile,
  cachedFileMemory,
  type Linux,
  listCachedFiles,
  readCachedFile,
} from "../../../src/linux/index.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";

describe("files cached in the committed dump", () => {
  let machine: Machine;
  let linux: Linux;
  let files: CachedFile[];
  beforeAll(async () => {
    machine = await open(DUMP);
    linux = await machine.linux();
    files = await linux.cachedFiles().toArray();
  });
  afterAll(() => machine?.close());
  const named = (path: string) => files.find((file) => file.path === path) as CachedFile;

  it("are its programs, those that were deleted and are open, memory without a name, a block device's cache", () => {
    const told = files.map(
      ({ path, blockDevice, deleted }) => `${path ?? blockDevice}${deleted ? " -" : ""}`,
    );
    expect(told.sort()).toEqual(
      [
        ...["/bin/busybox", "/data.bin", "/dev/zero -", "/guest", "/init", "/memfd:memtool-memfd -"],
        ...["/modules/order", "/run/deleted-but-open.txt -", "/shared.bin", "254:0"],
      ].sort(),
    );
  });

  it("have the bytes of what the guest was made of", async () => {
    const script = await cachedFileMemory(linux, named("/init")).read(0, named("/init").size as number);
    expect(Buffer.from(script).toString()).toBe(readFileSync("fixtures/vm/init.sh", "utf8"));
  });

  it("have their pages where VMAs of processes map them", async () => {
    const guest = named("/guest");
    const [pid] = guest.pids as [number];
    const memory = (await linux.process(pid)).memory;
    const content = linux.cachedFileMemory(guest);
    let compared = 0;
    for (const vma of await linux.vmas({ pid, pages: false }).toArray()) {
      if (vma.path !== "/guest" || !vma.rights.startsWith("r-x")) continue;
      const length = Number(vma.end - vma.start);
      const mapped = await memory.readPartial(vma.start, length);
      const cached = await content.readPartial(Number(vma.offset), length);
      for (const { start, end } of mapped.holes) cached.bytes.fill(0, start, end);
      for (const { start, end } of cached.holes) mapped.bytes.fill(0, start, end);
      expect(Buffer.compare(mapped.bytes, cached.bytes)).toBe(0);
      compared += length;
    }
    expect(compared).toBeGreaterThan(400_000);
  });

  it("of which nothing is at a place are holes there on a disk, and zeros where memory is all there is", async () => {
    const device = files.find(({ blockDevice }) => blockDevice === "254:0") as CachedFile;
    const [range] = device.ranges as [{ start: number; end: number }];
    const around = await readCachedFile(linux, device, range.start, range.end - range.start + 100);
    expect(around.holes).toMatchObject([{ start: 4096, end: 4196 }]);
    const zero = named("/dev/zero");
    expect(zero.ranges.length).toBe(16);
    expect(await linux.cachedFileMemory(zero).read(4096, 4096)).toEqual(new Uint8Array(4096));
    const beyond = await readCachedFile(linux, zero, (zero.size as number) - 10, 20);
    expect(beyond.holes).toMatchObject([{ start: 10, end: 20 }]);
  });

  it("are asked for by name before their pages are looked at", async () => {
    const asked: (string | undefined)[] = [];
    const where = ({ path }: { path: string | undefined }) => asked.push(path) > 0 && path === "/init";
    const found = await listCachedFiles(linux, { where }).toArray();
    expect(found.map(({ path }) => path)).toEqual(["/init"]);
    expect(asked.length).toBe(files.length);
  });

  it("of a process that there is not are an error", async () => {
    await expect(listCachedFiles(linux, { pid: 4_000_000 }).toArray()).rejects.toThrow("no process 4000000");
  });
});
