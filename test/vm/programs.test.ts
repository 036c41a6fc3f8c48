/**
 * Programs and libraries in memory in every way: what memtool says of them against what the programs' own linker told, /proc, and
 * readelf of the very files.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { bootPrograms, type ProgramsGuest } from "../../fixtures/vm/programs.mjs";
import {
  type Damage,
  elfFile,
  type FoundElf,
  type Linux,
  type LoadedLibrary,
  type Process,
} from "../../src/linux/index.js";

for (const kind of ["amd64", "amd64-612", "arm64"] as const) {
  describe(`a guest with programs and libraries: ${kind}`, () => {
    let guest: ProgramsGuest;
    let machine: Machine;
    let linux: Linux;
    let init: Process;
    let elfs: FoundElf[];
    let libraries: LoadedLibrary[];
    const damage: Damage[] = [];
    beforeAll(async () => {
      guest = await bootPrograms({ machine: kind, log: (line) => console.log(line) });
      machine = await open(guest.dumpFile);
      linux = await machine.linux();
      init = await linux.process(1);
      const onDamage = (each: Damage) => void damage.push(each);
      elfs = await linux.elfs({ onDamage }).toArray();
      libraries = await linux.libraries({ onDamage }).toArray();
    });
    afterAll(async () => {
      await machine?.close();
      await guest?.close();
    });

    /** Lines of a section that the guest printed, by their fields. */
    const rows = (name: string, separator: string | RegExp = "\t"): string[][] =>
      (guest.texts.get(name) ?? "")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => line.split(separator));
    const own = (path: string) =>
      elfs.filter((each) => each.pid === 1 && each.path?.replace(" (deleted)", "") === path);
    const file = (name: string) => join(guest.root, name);
    const readelf = (...args: string[]) => execFileSync("readelf", args, { encoding: "utf8" });

    it("reads all of it without damage", () => {
      expect(damage).toEqual([]);
    });

    it("lists what the linker has loaded as dl_iterate_phdr and link_map have it, in each namespace", () => {
      const listed = libraries.filter((each) => each.pid === 1 && each.namespace !== null);
      const lines = (namespace: number) =>
        listed
          .filter((each) => each.namespace === namespace)
          .map((each) =>
            [each.linkMap, each.base, each.dynamic]
              .map((value) => `0x${value?.toString(16)}`)
              .concat(`${each.name}`),
          );
      const plain = (texts: string[][]) =>
        texts.map((line) => line.map((field) => (field === "0" ? "0x0" : field)));
      expect(lines(0)).toEqual(plain(rows("list")));
      expect(lines(1)).toEqual(plain(rows("list 2")));
      const bases = lines(0).map(([, base, , name]) => [base, name]);
      // (That of the program has no name there either.)
      expect(bases.sort()).toEqual(rows("phdrs").sort());
      expect(listed.map(({ hint }) => hint).filter(Boolean)).toEqual([]);
    });

    it("tells of the one image that is on no list: the one in memory without a file", () => {
      const [start, size] = rows("injected")[0] as string[];
      const unlisted = libraries.filter((each) => each.pid === 1 && each.hint === "unlisted");
      expect(unlisted).toMatchObject([
        { base: BigInt(start as string), how: "anonymous memory", soname: "libinjected.so", path: undefined },
      ]);
      const [found] = elfs.filter((each) => each.pid === 1 && each.how === "anonymous memory");
      expect(found).toMatchObject({ layout: "file", executable: true });
      expect(Number(size)).toBeGreaterThan(0);
    });

    it("puts that image together as its file was, byte for byte", async () => {
      const found = elfs.find((each) => each.pid === 1 && each.how === "anonymous memory") as FoundElf;
      const written = elfFile(found);
      const bytes = new Uint8Array(written?.size ?? 0);
      for (const piece of (await written?.pieces.toArray()) ?? []) bytes.set(piece.bytes, piece.offset);
      expect(Buffer.from(bytes).equals(readFileSync(file("lib/libinjected.so")))).toBe(true);
    });

    it("finds an image wherever /proc/self/maps has the beginning of a file, and ends each where its last mapping does", () => {
      const maps = rows("/proc/self/maps", /\s+/).filter((fields) => fields[5]?.startsWith("/"));
      const starts = maps
        .filter((fields) => fields[2] === "00000000")
        .map(([range]) => BigInt(`0x${range?.split("-")[0]}`));
      const mine = elfs.filter((each) => each.pid === 1 && each.how === "mapping");
      expect(mine.map(({ start }) => start)).toEqual(starts);
      const kinds = new Set(mine.map((each) => `${each.kind} ${each.path?.replace(/^.*\//, "")}`));
      expect([...kinds].filter((each) => !each.startsWith("library "))).toHaveLength(2);
      expect(kinds).toContain("program init");
    });

    it("has the build ids that readelf has of the files", () => {
      const names = [
        "init",
        "lib/libone.so",
        "lib/libtwo.so.2",
        "lib/libplug.so",
        "lib/libgone.so",
        "lib/libc.so.6",
      ];
      for (const name of names) {
        const id = /Build ID: ([0-9a-f]+)/.exec(readelf("-n", file(name)))?.[1];
        expect(own(`/${name}`).map(({ buildId }) => buildId)[0], name).toBe(id);
      }
    });

    it("knows the vDSO by what the kernel told the program, and its symbols", async () => {
      const [base] = rows("vdso")[0] as string[];
      const vdso = elfs.filter((each) => each.pid === 1 && each.kind === "vdso");
      expect(vdso).toMatchObject([{ base: BigInt(base as string), how: "special mapping" }]);
      const names = (await init.symbols("vdso:*").toArray()).map(({ name }) => name);
      expect(names).toContain(kind === "arm64" ? "__kernel_clock_gettime" : "__vdso_clock_gettime");
    });

    it("finds each symbol where dlsym does, and names its address", async () => {
      for (const [object, name, address] of rows("symbols") as [string, string, string][]) {
        const found = await init.symbol(`${object}:${name}`);
        expect(`0x${found.address.toString(16)}`, name).toBe(address);
        expect(await init.nameOf(BigInt(address) + 1n), name).toMatchObject({ module: object, offset: 1n });
      }
      for (const [version, address] of rows("versions") as [string, string][]) {
        expect((await init.symbol(`two_versions@${version}`)).address, version).toBe(BigInt(address));
      }
      expect((await init.symbol("two_versions")).version).toBe("NEW_2");
    });

    it("has all symbols of libc that readelf has of its file, with their versions, addresses and sizes", async () => {
      const base = (own("/lib/libc.so.6")[0] as FoundElf).start;
      const mine = (await init.symbols("libc.so.6:*").toArray()).map(
        (each) => `${each.address - base} ${each.size} ${each.name.replace(/@.*/, "")} ${each.version}`,
      );
      const lines = readelf("--dyn-syms", "-W", file("lib/libc.so.6"))
        .split("\n")
        .map((line) => line.trim().split(/\s+/));
      const theirs = lines
        .filter(
          (f) => f.length >= 8 && /^\d+:$/.test(f[0] as string) && !["UND", "ABS"].includes(f[6] as string),
        )
        .filter((f) => !["TLS", "SECTION", "FILE"].includes(f[3] as string))
        .map((f) => {
          const [name, version] = (f[7] as string).split(/@+/);
          return `${BigInt(`0x${f[1]}`)} ${BigInt(f[2] as string)} ${name} ${version}`;
        });
      expect(theirs.length).toBeGreaterThan(2000);
      expect(mine.sort()).toEqual(theirs.sort());
    });

    it("finds the linker's list of a program that has forgotten where it is", () => {
      const [pid] = rows("forgetful")[0] as string[];
      const found = libraries.filter((each) => each.pid === Number(pid) && each.origin !== undefined);
      expect(found.map(({ name, origin }) => [name, origin])).toContainEqual(["/lib/libone.so", "_r_debug"]);
    });
  });
}
