/** Files cached in a guest's memory, against what the guest itself printed of them (fixtures/vm/cached.c). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { faultState } from "../../src/io/index.js";
import {
  type CachedFile,
  cachedFileMemory,
  type Damage,
  fileParts,
  findProcess,
  type LinuxKernel,
  listCachedFiles,
  listVmas,
  memoryOfTask,
} from "../../src/linux/index.js";
import type { LinuxSubject } from "./linux-suite.js";

/** The file that is swapped out where there is swap. */
const SWAPPED = "/cached/swapped";

/** A file as the guest described it. */
interface FileFact {
  readonly name: string;
  readonly inode: bigint;
  readonly device: string;
  readonly size: number;
  readonly links: number;
  /** Of all its bytes; `undefined` for one that has too many. */
  readonly hash: bigint | undefined;
  readonly ranges: { readonly start: number; readonly end: number }[];
}

/** Runs the suite. @param get Is called once. */
export function pagecacheSuite(name: string, get: () => Promise<LinuxSubject>): void {
  describe(`files cached in memory: ${name}`, () => {
    let machine: Machine;
    let kernel: LinuxKernel;
    let truth: Truth;
    let facts: FileFact[];
    let files: CachedFile[];
    let hasSwap = false;
    const damage: Damage[] = [];
    beforeAll(async () => {
      const subject = await get();
      truth = subject.truth;
      const { target, swapFile } = subject;
      hasSwap = swapFile !== undefined;
      machine = await open(target, swapFile === undefined ? {} : { swap: [swapFile] });
      kernel = await machine.linux();
      facts = parseFacts(truth.texts["cached-files"] ?? "");
      files = await listCachedFiles(kernel, { onDamage: (found) => damage.push(found) }).toArray();
    });
    afterAll(() => machine?.close());

    const fileOf = ({ inode, device }: FileFact) =>
      files.find((file) => file.inode === inode && file.device === device);

    it("are all there, and nothing is damaged", () => {
      expect(damage.map(({ message }) => message)).toEqual([]);
      expect(facts.length).toBeGreaterThan(5);
      expect(facts.filter((fact) => fileOf(fact) === undefined).map((fact) => fact.name)).toEqual([]);
      expect(new Set(files.map(({ address }) => address)).size).toBe(files.length);
    });

    it("have their names, sizes and links, and who has them open", () => {
      for (const fact of facts) {
        const { path, size, links, deleted, pids, inMemory, whole } = fileOf(fact) as CachedFile;
        expect({ path, size, links, deleted, inMemory, whole }).toEqual({
          path: fact.name,
          size: fact.size,
          links: fact.links,
          deleted: fact.links === 0,
          inMemory: true,
          whole: true,
        });
        expect(pids).toContain(truth.pid);
      }
    });

    it("have the pages that mincore says are there", () => {
      for (const fact of facts) {
        // (A page that is on its way to swap is there as well.)
        if (fact.name === SWAPPED) continue;
        expect({ name: fact.name, ranges: fileOf(fact)?.ranges }).toEqual({
          name: fact.name,
          ranges: fact.ranges,
        });
      }
    });

    it("have the bytes that the guest read of them", async () => {
      for (const fact of facts) {
        const file = fileOf(fact) as CachedFile;
        if (fact.hash === undefined || (file.swapped.length > 0 && !hasSwap)) continue;
        const bytes = await cachedFileMemory(kernel, file).read(0, file.size as number);
        expect({ name: fact.name, hash: hashOf(bytes) }).toEqual({ name: fact.name, hash: fact.hash });
      }
    });

    it("that were swapped out are told so, and can't be read without their area", async (context) => {
      const file = files.find(({ path }) => path === SWAPPED) as CachedFile;
      // (Without swap, or where pages were needed again, nothing is.)
      if (file.swapped.length === 0) return context.skip();
      const swapped = file.swapped.reduce((sum, { start, end }) => sum + end - start, 0);
      expect(swapped + file.cached).toBe(file.size);
      const { holes } = await cachedFileMemory(kernel, file).readPartial(0, file.size as number);
      const missing = holes.map(({ fault }) => faultState(fault));
      if (hasSwap) expect(missing).toEqual([]);
      else expect(new Set(missing)).toEqual(new Set(["swapped"]));
    });

    it("that say they have a TiB take no more than their pages", async () => {
      const fact = facts.find(({ hash }) => hash === undefined) as FileFact;
      const file = fileOf(fact) as CachedFile;
      expect(file.size).toBe(2 ** 40);
      expect(fileParts(file).length).toBeLessThan(16);
      expect(file.cached).toBe(fact.ranges.reduce((sum, { start, end }) => sum + end - start, 0));
      const [range] = file.ranges;
      const bytes = await cachedFileMemory(kernel, file).read(range?.start ?? 0, 64);
      expect(bytes.some((byte) => byte !== 0)).toBe(true);
      expect((await cachedFileMemory(kernel, file).read(2 ** 39 - 64, 64)).every((byte) => byte === 0)).toBe(
        true,
      );
    });

    it("that are programs are what processes map of them", async () => {
      const guest = files.find(({ path }) => path === "/guest") as CachedFile;
      expect(guest.pids).toContain(truth.pid);
      const memory = memoryOfTask(kernel, await findProcess(kernel, truth.pid));
      const content = cachedFileMemory(kernel, guest);
      let compared = 0;
      for (const vma of await listVmas(kernel, { pid: truth.pid, pages: false }).toArray()) {
        // (What may be written to is the process's own.)
        if (vma.path !== "/guest" || vma.rights.includes("w")) continue;
        const length = Math.min(Number(vma.end - vma.start), (guest.size as number) - Number(vma.offset));
        const mapped = await memory.readPartial(vma.start, length);
        const cached = await content.read(Number(vma.offset), length);
        for (const hole of mapped.holes) cached.fill(0, hole.start, hole.end);
        // (Read-only data that was relocated is the process's own, too: not in a static program without any.)
        if (vma.rights.includes("x")) expect(Buffer.compare(mapped.bytes, cached)).toBe(0);
        compared += length;
      }
      expect(compared).toBeGreaterThan(100_000);
    });

    it("of one process are those that it has open or maps", async () => {
      const own = await listCachedFiles(kernel, { pid: truth.pid }).toArray();
      const expected = files.filter(({ pids }) => pids.includes(truth.pid)).map(({ address }) => address);
      expect(own.map(({ address }) => address).sort()).toEqual(expected.sort());
      expect(own.length).toBeGreaterThan(3);
    });
  });
}

function parseFacts(text: string): FileFact[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [name = "", inode = "", device = "", size = "", links = "", hash = "", ranges = ""] =
        line.split("\t");
      return {
        name: name.replace(/\\x([0-9a-f]{2})/g, (_, digits) =>
          String.fromCharCode(Number.parseInt(digits, 16)),
        ),
        inode: BigInt(inode),
        device,
        size: Number(size),
        links: Number(links),
        hash: hash === "-" ? undefined : BigInt(hash),
        ranges: ranges
          .split(",")
          .filter((range) => range !== "")
          .map((range) => {
            const [start, end] = range.split("-").map(Number) as [number, number];
            return { start, end };
          }),
      };
    });
}

/** FNV-1a, 64 bits, in two words: bigints would take seconds. */
function hashOf(bytes: Uint8Array): bigint {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  for (const byte of bytes) {
    low = (low ^ byte) >>> 0;
    // Times 0x100000001b3: 2^40 + 0x1b3.
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return (BigInt(high) << 32n) | BigInt(low);
}
