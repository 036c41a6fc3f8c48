/** Symbols that no segment of a program has, out of the cache of its file. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type CachedFile,
  cachedFileMemory,
  findProcess,
  listCachedFiles,
  readProcessSymbols,
} from "../../../src/linux/index.js";
import { truth } from "../../support/cli-dump.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const PAGE = 4096;

describe("the symbols of a static program", () => {
  let patched: PatchedKernel;
  let file: CachedFile;
  let bytes: Buffer;
  beforeAll(async () => {
    patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
    const where = ({ path }: { path: string | undefined }) => path === "/guest";
    [file] = (await listCachedFiles(patched.kernel, { where }).toArray()) as [CachedFile];
    bytes = Buffer.from(await cachedFileMemory(patched.kernel, file).read(0, file.size as number));
  });
  afterAll(() => patched?.close());

  /** Writes into the cached pages of the file, wherever those are. */
  async function write(offset: number, data: Buffer): Promise<void> {
    const base = await patched.kernel.memory.read(
      (await patched.kernel.symbol("page_offset_base")).address,
      8,
    );
    const direct = Buffer.from(base).readBigUInt64LE(0);
    for (let done = 0; done < data.length; ) {
      const at = offset + done;
      const length = Math.min(data.length - done, PAGE - (at % PAGE));
      const run = file.runs.find(({ start, end }) => start <= at && at < end);
      if (run === undefined) throw new Error(`no page at ${at}`);
      const physical = BigInt(run.physical + at - run.start);
      await patched.set(direct + physical, data.subarray(done, done + length));
      done += length;
    }
  }

  it("are those of .symtab, which lies behind all segments of its file", async () => {
    const table = Number(bytes.readBigUInt64LE(40));
    const [count, names] = [bytes.readUInt16LE(60), bytes.readUInt16LE(62)];
    const entry = bytes.readBigUInt64LE(24);
    const place = Number(bytes.readBigUInt64LE(table + 64 * names + 24));
    // (The guest's program is stripped. Its names of sections, which nothing maps, become two symbols and their names.)
    const texts = Buffer.from("\0first_of_all\0");
    const symbols = Buffer.alloc(48);
    symbols.writeUInt32LE(1, 24);
    symbols.writeUInt8(0x12, 28);
    symbols.writeUInt16LE(1, 30);
    symbols.writeBigUInt64LE(entry, 32);
    symbols.writeBigUInt64LE(64n, 40);
    await write(place, Buffer.concat([symbols, texts]));
    const section = (type: number, offset: number, size: number, link: number) => {
      const header = Buffer.alloc(64);
      header.writeUInt32LE(type, 4);
      header.writeBigUInt64LE(BigInt(offset), 24);
      header.writeBigUInt64LE(BigInt(size), 32);
      header.writeUInt32LE(link, 40);
      return header;
    };
    const other = names === count - 1 ? names - 1 : names + 1;
    await write(table + 64 * names, section(2, place, 48, other));
    await write(table + 64 * other, section(3, place + 48, texts.length, 0));

    const found = await readProcessSymbols(
      patched.kernel,
      await findProcess(patched.kernel, truth.witnessPid),
    );
    expect(found.symbol("first_of_all")).toMatchObject([
      { address: entry, size: 64n, type: "T", module: "guest", path: "/guest" },
    ]);
    expect(found.nameOf(entry + 3n)).toMatchObject({ name: "first_of_all", offset: 3n });
  });
});
