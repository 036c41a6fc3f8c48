import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { open } from "../../connectors/open.js";
import { profileCache } from "../../connectors/profile-cache.js";
import { Io, MemtoolError } from "../../src/io/index.js";
import { findKernel, kallsymsFromState } from "../../src/linux/index.js";
import { decodeProfile, encodeProfile, type KernelProfile } from "../../src/linux/profile/profile.js";
import { saveProfile } from "../../src/linux/profile/profile-use.js";
import { Btf } from "../../src/linux/types/btf/btf.js";
import { dumpWithout } from "../support/dump-without.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const BUILD = "3b43fad5034874490492495d552c0af6a5fab235";

const NOWHERE = { names: 0n, btf: 0n };

let work: string;
let folders = 0;
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), "memtool-profiles-"));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

const newFolder = () => join(work, `cache-${folders++}`);

/** The processes, and how many bytes of the dump were read for them. */
async function processes(path: string, cache: boolean | string) {
  const machine = await open(path, { cache, kernel: "note" });
  try {
    const linux = await machine.linux();
    const tasks = await linux.tasks().toArray();
    const text = JSON.stringify(tasks, (_, value) => (typeof value === "bigint" ? `${value}` : value));
    return { text, bytes: machine.source.counters.bytes, note: linux.profileNote };
  } finally {
    await machine.close();
  }
}

function changed(folder: string, change: (profile: KernelProfile) => KernelProfile): void {
  const path = join(folder, `${BUILD}.profile`);
  const profile = decodeProfile(withoutSums(readFileSync(path)));
  if (profile === undefined) throw new Error(`${folder}: no profile`);
  profileCache(folder)?.save(BUILD, encodeProfile(change(profile)));
}

/** The profile in a file: its length is before the last of the sums. */
function withoutSums(file: Uint8Array): Uint8Array {
  return file.slice(0, new DataView(file.buffer, file.byteOffset).getUint32(file.length - 8, true));
}

/** A copy of a file with a bit of each page from `start` to `end` (exclusive) turned over. */
function spoilt(file: Uint8Array, start: number, end: number): Uint8Array {
  const bad = Uint8Array.from(file);
  for (let at = start; at < end; at += 4096) bad[at] = (bad[at] as number) ^ 1;
  return bad;
}

/** What the cache has, all of it. @throws as its `need` */
function loaded(folder: string): Uint8Array | undefined {
  const cache = profileCache(folder);
  try {
    const found = cache?.load(BUILD);
    if (found === undefined || found instanceof Uint8Array) return found;
    found.need(0, found.bytes.length);
    return found.bytes;
  } finally {
    cache?.close();
  }
}

describe("profiles of kernels", () => {
  let truth: { text: string; bytes: number };
  let kept: Uint8Array;
  beforeAll(async () => {
    truth = await processes(DUMP, false);
    const folder = newFolder();
    await processes(DUMP, folder);
    kept = readFileSync(join(folder, `${BUILD}.profile`));
  });

  it("give the same processes a second time, of far fewer bytes of the dump", async () => {
    const folder = newFolder();
    expect((await processes(DUMP, folder)).text).toBe(truth.text);
    expect(readdirSync(folder)).toEqual([`${BUILD}.profile`]);
    const again = await processes(DUMP, folder);
    expect(again.text).toBe(truth.text);
    expect(again.bytes).toBeLessThan(truth.bytes / 2);
  });

  it("serve those who ask for symbols and types at the same time", async () => {
    const folder = newFolder();
    await processes(DUMP, folder);
    const machine = await open(DUMP, { cache: folder, kernel: "note" });
    try {
      const linux = await machine.linux();
      const [kallsyms, types] = await Promise.all([linux.kallsyms(), linux.types()]);
      expect(linux.profileNote).toBe(undefined);
      expect(machine.source.counters.bytes).toBeLessThan(truth.bytes / 2);
      expect(kallsyms.symbol("vfs_read")).toHaveLength(1);
      expect(types.find("struct", "task_struct")?.kind).toBe("struct");
    } finally {
      await machine.close();
    }
  });

  it("are ignored and written again when they are torn, changed, or of another layout", async () => {
    const folder = newFolder();
    await processes(DUMP, folder);
    const path = join(folder, `${BUILD}.profile`);
    const bad: Record<string, Uint8Array> = {
      empty: new Uint8Array(0),
      "a few bytes": kept.slice(0, 3),
      torn: kept.slice(0, kept.length >> 1),
      "a bit of the sums": kept.map((byte, i) => (i === kept.length - 1000 ? byte ^ 1 : byte)),
      "another sum of the sums": kept.map((byte, i) => (i === kept.length - 1 ? byte ^ 0x80 : byte)),
      "another length": kept.map((byte, i) => (i === kept.length - 8 ? byte ^ 0x80 : byte)),
    };
    for (const [name, bytes] of Object.entries(bad)) {
      writeFileSync(path, bytes);
      expect(loaded(folder)?.length, name).toBe(0);
    }
    writeFileSync(path, kept);
    expect(Buffer.compare(loaded(folder) as Uint8Array, withoutSums(kept))).toBe(0);
    writeFileSync(path, bad.torn as Uint8Array);
    const again = await processes(DUMP, folder);
    expect(again.text).toBe(truth.text);
    expect(again.note).toContain("is damaged");
    expect(Buffer.compare(readFileSync(path), kept)).toBe(0);
    expect((await processes(DUMP, folder)).note).toBe(undefined);
  });

  it.each([
    ["its version", 7],
    ["its build id", 24 + 4 * 14 + 2],
  ])("are ignored and written again when a bit of what is compared goes bad: %s", async (_, at) => {
    const folder = newFolder();
    await processes(DUMP, folder);
    const path = join(folder, `${BUILD}.profile`);
    writeFileSync(
      path,
      kept.map((byte, i) => (i === at ? byte ^ 1 : byte)),
    );
    const again = await processes(DUMP, folder);
    expect(again.note).toContain("is damaged");
    expect(again.text).toBe(truth.text);
    expect(Buffer.compare(readFileSync(path), kept)).toBe(0);
  });

  it("that go bad in what is needed later say where, and are gone the next time", async () => {
    const folder = newFolder();
    await processes(DUMP, folder);
    const path = join(folder, `${BUILD}.profile`);
    const machine = await open(DUMP, { cache: folder, kernel: "note" });
    try {
      const linux = await machine.linux();
      await linux.kallsyms();
      expect(linux.profileNote).toBe(undefined);
      // (The same file: it is open.) All names, and so all their pages, are asked for below.
      writeFileSync(path, spoilt(kept, 0, kept.length));
      await expect(linux.symbols("init_*").toArray()).rejects.toMatchObject({
        code: "PROFILE",
        message: expect.stringMatching(
          /\.profile: .* is damaged at 0x[0-9a-f]+000, and is removed: try again$/,
        ),
      });
    } finally {
      await machine.close();
    }
    expect(readdirSync(folder)).toEqual([]);
    expect((await processes(DUMP, folder)).text).toBe(truth.text);
    expect(Buffer.compare(readFileSync(path), kept)).toBe(0);
  });

  it("say, once their machine is closed, that nothing more comes of them", async () => {
    const folder = newFolder();
    await processes(DUMP, folder);
    const machine = await open(DUMP, { cache: folder, kernel: "note" });
    const kallsyms = await (await machine.linux()).kallsyms();
    await machine.close();
    expect(() => [...kallsyms]).toThrow(
      /\.profile was closed with its machine: ask for symbols and types before/,
    );
  });

  it("whose types go bad say so to whoever asks for a module's symbols: it is not that there are none", async () => {
    const folder = newFolder();
    await processes(DUMP, folder);
    const path = join(folder, `${BUILD}.profile`);
    const machine = await open(DUMP, { cache: folder, kernel: "note" });
    try {
      const linux = await machine.linux();
      await linux.types();
      const { btf } = decodeProfile(withoutSums(kept)) as { btf: Uint8Array };
      writeFileSync(path, spoilt(kept, btf.byteOffset, btf.byteOffset + btf.length));
      // In nf_tables: nft_do_chain+0x30.
      await expect(linux.nameOf(0xffff_ffff_c054_7100n)).rejects.toMatchObject({ code: "PROFILE" });
      await expect(linux.moduleSymbols()).rejects.toMatchObject({ code: "PROFILE" });
    } finally {
      await machine.close();
    }
  });

  it("are needed by less than a tenth for a list of processes", async () => {
    const bytes = withoutSums(kept);
    const pages = new Set<number>();
    const need = (start: number, end: number) => {
      for (let page = start >> 12; page < (end + 4095) >> 12; page++) pages.add(page);
    };
    const machine = await open(DUMP, { kernel: "none" });
    try {
      const physical = machine.physical as NonNullable<typeof machine.physical>;
      const profiles = { load: () => ({ bytes, need }), save: () => undefined };
      const linux = await findKernel(physical, { map: physical.map, profiles });
      expect(await linux.tasks().toArray()).not.toHaveLength(0);
    } finally {
      await machine.close();
    }
    expect(pages.size).toBeGreaterThan(20);
    expect(pages.size * 4096).toBeLessThan(bytes.length / 10);
  });

  it("are no profiles with a length that can't be, or of another version, whatever their sum", () => {
    const bytes = withoutSums(kept);
    expect(decodeProfile(bytes)?.buildId).toBe(BUILD);
    for (let part = 0; part < 14; part++) {
      const at = 24 + 4 * part;
      expect(decodeProfile(bytes.map((byte, i) => (i >= at && i < at + 4 ? 0xff : byte)))).toBe(undefined);
    }
    expect(decodeProfile(bytes.map((byte, i) => (i === 7 ? byte + 1 : byte)))).toBe(undefined);
    expect(decodeProfile(bytes.subarray(0, -8))).toBe(undefined);
    expect(decodeProfile(bytes.subarray(0, 60))).toBe(undefined);
  });

  it("that were forged give other answers at worst: nothing hangs, nothing else is thrown", async () => {
    const folder = newFolder();
    await processes(DUMP, folder);
    const path = join(folder, `${BUILD}.profile`);
    const random = (column: Uint32Array | Int32Array | Uint16Array) =>
      column.map((_, i) => Math.imul(i + 1, 0x9e3779b1));
    const circles = (column: Uint32Array) => column.map((_, i) => i + 1);
    const forged: Record<string, (profile: KernelProfile) => KernelProfile> = {
      "names anywhere": ({ kallsymsIndex: index, ...profile }) => ({
        ...profile,
        kallsymsIndex: { ...index, starts: random(index.starts) as Uint32Array },
      }),
      "chains anywhere": ({ kallsymsIndex: index, ...profile }) => ({
        ...profile,
        kallsymsIndex: {
          ...index,
          heads: random(index.heads) as Int32Array,
          next: random(index.next) as Int32Array,
        },
      }),
      "a circle of symbols": ({ kallsymsIndex: index, ...profile }) => ({
        ...profile,
        kallsymsIndex: { ...index, heads: index.heads.fill(7), next: index.next.map((_, i) => i) },
      }),
      "too few hashes": ({ kallsymsIndex: index, ...profile }) => ({
        ...profile,
        kallsymsIndex: { ...index, hashes: index.hashes.subarray(1) },
      }),
      "types anywhere": ({ btfIndex: index, ...profile }) => ({
        ...profile,
        btfIndex: index && { ...index, starts: random(index.starts) as Uint32Array },
      }),
      "a circle of types": ({ btfIndex: index, ...profile }) => ({
        ...profile,
        btfIndex: index && { ...index, buckets: index.buckets.fill(9), next: circles(index.next) },
      }),
      "odd buckets": ({ btfIndex: index, ...profile }) => ({
        ...profile,
        btfIndex: index && { ...index, buckets: index.buckets.subarray(3) },
      }),
    };
    for (const [name, change] of Object.entries(forged)) {
      changed(folder, change);
      try {
        await processes(DUMP, folder);
      } catch (error) {
        expect(error, name).toBeInstanceOf(MemtoolError);
      }
      expect(statSync(path).size, name).toBeGreaterThan(0);
    }
  });

  it.each<[string, (profile: KernelProfile) => KernelProfile]>([
    ["of another build", (profile) => ({ ...profile, buildId: "00".repeat(20) })],
    [
      "with other structures in VMCOREINFO",
      (profile) => ({ ...profile, lines: `${profile.lines}\nSIZE(x)=1` }),
    ],
    ["with another banner", (profile) => ({ ...profile, banner: `${profile.banner} ` })],
    [
      "with other types",
      (profile) => ({ ...profile, btf: profile.btf?.map((byte, i) => (i < 64 ? byte : byte ^ 1)) }),
    ],
    ["with types elsewhere", (profile) => ({ ...profile, btfAt: profile.btfAt + 4096n })],
    [
      "with symbols elsewhere",
      ({ kallsyms, ...profile }) => ({
        ...profile,
        kallsyms: { ...kallsyms, addresses: kallsyms.addresses.map((address) => address + 16n) },
      }),
    ],
  ])("are ignored and written again: one %s", async (_, change) => {
    const folder = newFolder();
    await processes(DUMP, folder);
    const path = join(folder, `${BUILD}.profile`);
    changed(folder, change);
    const again = await processes(DUMP, folder);
    expect(again.text).toBe(truth.text);
    expect(again.note).toContain("does not fit");
    expect(Buffer.compare(readFileSync(path), kept)).toBe(0);
  });

  it("fit kernels that list functions only: neither BTF nor the banner has a symbol", async () => {
    const folder = newFolder();
    await processes(DUMP, folder);
    changed(folder, ({ kallsyms, kallsymsIndex: index, ...profile }) => {
      const hashes = index.hashes.slice();
      for (const [i, { name }] of [...kallsymsFromState(kallsyms)].entries()) {
        if (/^(__st(art|op)_BTF|linux_banner)$/.test(name)) hashes[i] = ~(hashes[i] as number);
      }
      return { ...profile, kallsyms, kallsymsIndex: { ...index, hashes } };
    });
    const again = await processes(DUMP, folder);
    expect(again.note).toBe(undefined);
    expect(again.text).toBe(truth.text);
    expect(again.bytes).toBeLessThan(truth.bytes / 2);
  });

  it("are not made of symbols that were given, nor of BTF whose end is blank", async () => {
    const folder = newFolder();
    const machine = await open(DUMP, { cache: folder, kernel: "note" });
    try {
      const linux = await machine.linux();
      const kallsyms = await linux.kallsyms();
      linux.useSymbols(kallsyms);
      const { bytes } = (await linux.types()) as Btf;
      expect(() => readdirSync(folder)).toThrow();
      const saved: string[] = [];
      const profiles = { load: () => undefined, save: (id: string) => void saved.push(id) };
      const save = (btf: Uint8Array) =>
        Io.of(linux.memory.scheduler, saveProfile, profiles, linux, kallsyms, NOWHERE, new Btf(btf));
      await save(bytes.slice().fill(0, -100));
      expect(saved).toEqual([]);
      await save(bytes);
      expect(saved).toEqual([BUILD]);
    } finally {
      await machine.close();
    }
  });

  it("are not written of a dump whose BTF is not whole, which one of a whole dump then stands in for", async () => {
    const folder = newFolder();
    const btf = decodeProfile(withoutSums(kept))?.btf as Uint8Array;
    const page = Buffer.from(btf.subarray(1 << 20, (1 << 20) + 4096));
    // (The BTF begins at a page: vmlinux.lds.h aligns it so, where its own does not say.)
    const some = page.subarray(1024, 1024 + 256);
    const sparse = join(work, "sparse.kdump");
    await dumpWithout(DUMP, sparse, (bytes) => Buffer.from(bytes).includes(some));
    await expect(processes(sparse, folder)).rejects.toThrow("can't be read");
    expect(profileCache(folder)?.load(BUILD)).toBe(undefined);
    await processes(DUMP, folder);
    expect((await processes(sparse, folder)).text).toBe(truth.text);
  });

  it("are at most 32, the newest", () => {
    const folder = newFolder();
    const cache = profileCache(folder);
    const idOf = (i: number) => i.toString(16).padStart(40, "0");
    for (let i = 0; i < 40; i++) {
      cache?.save(idOf(i), Uint8Array.of(i));
      const path = join(folder, `${idOf(i)}.profile`);
      utimesSync(path, 1000 + i, 1000 + i);
    }
    const names = readdirSync(folder).sort();
    expect(names).toEqual(Array.from({ length: 32 }, (_, i) => `${idOf(i + 8)}.profile`));
    expect(statSync(join(folder, names[0] as string)).mode & 0o77).toBe(0);
  });

  it("are of no path that a dump makes up, and what can't be written is not kept, which is said", () => {
    const folder = newFolder();
    profileCache(folder)?.save("../../escaped", Uint8Array.of(1));
    expect(() => readdirSync(folder)).toThrow();
    const file = join(work, "a file");
    writeFileSync(file, "");
    const none = profileCache(join(file, "below"));
    expect(none?.save(BUILD, Uint8Array.of(1))).toMatch(/can't be kept in .*a file.below \([A-Z]+\)$/);
    expect(none?.load(BUILD)).toBe(undefined);
  });

  it.runIf(process.platform === "linux")("below /proc, nothing can be kept, nor does anything hang", () => {
    // (Where Node's own way to make a folder hangs, what waits for it must be another process.)
    const { status, stdout } = spawnSync(
      process.execPath,
      ["dist/cli.cjs", "types", "list_head", "-f", DUMP],
      { env: { ...process.env, MEMTOOL_CACHE: "/proc/nothing/below" }, encoding: "utf8", timeout: 20_000 },
    );
    expect([status, stdout]).toEqual([0, expect.stringContaining("struct list_head")]);
    const cache = profileCache("/proc/nothing/below");
    expect(cache?.save(BUILD, Uint8Array.of(1))).toMatch(
      /can't be kept in \/proc\/nothing\/below \(ENOENT\)$/,
    );
  });

  it.runIf(process.platform === "linux")("are none of pipes and devices, which nobody waits for", () => {
    const folder = newFolder();
    mkdirSync(folder);
    const path = join(folder, `${BUILD}.profile`);
    expect(spawnSync("mkfifo", [path]).status).toBe(0);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ["dist/cli.cjs", "types", "list_head", "-f", DUMP],
      { env: { ...process.env, MEMTOOL_CACHE: folder }, encoding: "utf8", timeout: 20_000 },
    );
    expect([status, stdout, stderr]).toEqual([0, expect.stringContaining("struct list_head"), ""]);
    expect(Buffer.compare(readFileSync(path), kept)).toBe(0);
    rmSync(path);
    symlinkSync("/dev/zero", path);
    expect(profileCache(folder)?.load(BUILD)).toBe(undefined);
  });

  it("that can't be kept are told with the kernel", async () => {
    const file = join(work, "no folder");
    writeFileSync(file, "");
    expect((await processes(DUMP, file)).note).toMatch(
      /^what was read of this kernel can't be kept in .*no folder/,
    );
  });

  it("are where the environment says, or nowhere", () => {
    const folder = newFolder();
    expect(profileCache(false)).toBe(undefined);
    expect(profileCache(undefined, { MEMTOOL_CACHE: "off" })).toBe(undefined);
    // By default, nothing is kept.
    expect(profileCache(undefined, { XDG_CACHE_HOME: folder })).toBe(undefined);
    profileCache(true, { XDG_CACHE_HOME: join(folder, "home") })?.save(BUILD, Uint8Array.of(1));
    if (process.platform === "linux") {
      expect(readdirSync(join(folder, "home", "memtool", "profiles"))).toEqual([`${BUILD}.profile`]);
    }
    const other = newFolder();
    profileCache(undefined, { MEMTOOL_CACHE: other })?.save(BUILD, Uint8Array.of(1));
    expect(readdirSync(other)).toEqual([`${BUILD}.profile`]);
  });
});
