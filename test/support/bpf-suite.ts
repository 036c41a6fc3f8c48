/** What memtool says of BPF in a guest against what bpf(2) told that guest, and /proc/PID/fdinfo. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { type BpfItem, type BpfKind, type Damage, listBpf } from "../../src/linux/index.js";

/** include/uapi/linux/bpf.h, as far as the guest (fixtures/vm/scenery.c, act_bpf) has some. */
const TYPES: Readonly<Record<BpfKind, Readonly<Record<number, string>>>> = {
  program: { 1: "socket_filter", 17: "raw_tracepoint", 30: "sk_lookup" },
  map: { 1: "hash", 2: "array", 11: "lpm_trie" },
  link: { 1: "raw_tracepoint", 5: "netns" },
};

/** Runs the tests. @param load The dump, and its truth. */
export function bpfSuite(name: string, load: () => Promise<{ target: string; truth: Truth }>): void {
  describe(`BPF of ${name}`, () => {
    let machine: Machine;
    let truth: Truth;
    let items: BpfItem[];
    beforeAll(async () => {
      const { target, truth: facts } = await load();
      truth = facts;
      machine = await open(target);
      const damage: Damage[] = [];
      const onDamage = (found: Damage) => damage.push(found);
      items = await listBpf(await machine.linux(), { onDamage }).toArray();
      expect(damage).toEqual([]);
    });
    afterAll(() => machine?.close());

    it("has every program, map and link, with all that bpf(2) says of them", () => {
      const mine = items.map((item) => {
        const { kind, id } = item;
        const type = Object.entries(TYPES[kind]).find(([, each]) => each === item.type)?.[0];
        const start = `${kind} ${id} type ${type}`;
        switch (item.kind) {
          case "program": {
            const { tag, uid, loaded = 0, jited, instructions = 0, maps } = item;
            const nanoseconds = Math.round(loaded * 1e9);
            const bytes = `jited ${jited} translated ${8 * instructions}`;
            const used = maps.map((map) => `${map},`).join("");
            return `${start} tag ${tag} uid ${uid} loaded ${nanoseconds} ${bytes} maps ${used} name ${item.name}`;
          }
          case "map": {
            const { keySize, valueSize, maxEntries, flags } = item;
            return `${start} key ${keySize} value ${valueSize} entries ${maxEntries} flags ${flags} name ${item.name}`;
          }
          default:
            return `${start} program ${item.program}`;
        }
      });
      expect(mine).toEqual(truth.texts.bpf?.split("\n").filter((line) => line !== ""));
      expect(new Set(items.map(({ kind }) => kind)).size).toBe(3);
    });

    it("has what descriptors lead to, with the numbers and sizes of their fdinfo", () => {
      const infos = truth.processes.flatMap(({ files }) =>
        files.map(({ target, info }) => ({ target, info })),
      );
      let compared = 0;
      for (const { target, info } of infos.filter((each) => each.target.startsWith("anon_inode:bpf"))) {
        const fact = (key: string) => new RegExp(`^${key}:\\t(.*)$`, "m").exec(info)?.[1] ?? "";
        const kind = target.includes("map") ? "map" : target.includes("link") ? "link" : "program";
        const id = Number(fact(`${kind === "program" ? "prog" : kind}_id`));
        const item = items.find((each) => each.kind === kind && each.id === id);
        if (item?.kind === "map") {
          expect(TYPES.map[Number(fact("map_type"))]).toBe(item.type);
          expect([item.keySize, item.valueSize, item.maxEntries, item.flags]).toEqual(
            ["key_size", "value_size", "max_entries", "map_flags"].map((key) => Number(fact(key))),
          );
        } else if (item?.kind === "link") {
          expect([item.type, item.program]).toEqual([fact("link_type"), Number(fact("prog_id"))]);
        } else {
          expect(TYPES.program[Number(fact("prog_type"))]).toBe(item?.type);
          expect(item).toMatchObject({ tag: fact("prog_tag") });
        }
        compared++;
      }
      expect(compared).toBeGreaterThanOrEqual(8);
    });

    it("knows what a program is to be attached to, and where its code begins, as kallsyms has it", () => {
      const programs = items.filter((item) => item.kind === "program");
      expect(programs.find(({ type }) => type === "sk_lookup")?.attachType).toBe("sk_lookup");
      const symbols = truth.symbols.filter(({ module }) => module === "bpf");
      const mine = programs.map(({ tag, name: own, image }) => `${image} bpf_prog_${tag}_${own}`);
      expect(mine.sort()).toEqual(symbols.map((each) => `${BigInt(each.address)} ${each.name}`).sort());
    });
  });
}
