/** Who owns the pages of a guest's memory, against what the guest itself said of them. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import {
  type Damage,
  type LinuxKernel,
  listOwners,
  listTasks,
  listVmas,
  type PageOwner,
} from "../../src/linux/index.js";
import type { LinuxSubject } from "./linux-suite.js";

/** Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h). */
const KPF = {
  lru: 5n,
  slab: 7n,
  buddy: 10n,
  mapped: 11n,
  anonymous: 12n,
  swapCache: 13n,
  head: 15n,
  tail: 16n,
  hugetlb: 17n,
  none: 20n,
  huge: 22n,
  zero: 24n,
  table: 26n,
  reserved: 32n,
} as const;

/** Runs of frames of which the guest said the same: `page-frames`. */
interface FrameRun {
  readonly start: number;
  readonly end: number;
  readonly flags: bigint;
  /** How many times it is mapped. */
  readonly count: number;
}

/** Runs the suite. @param get Is called once. */
export function ownersSuite(name: string, get: () => Promise<LinuxSubject>): void {
  describe(`the owners of memory: ${name}`, () => {
    let machine: Machine;
    let kernel: LinuxKernel;
    let truth: Truth;
    let pageSize: number;
    const damage: Damage[] = [];
    /** Of each page that is RAM by /proc/iomem, by its frame. */
    const owners = new Map<number, PageOwner[]>();
    beforeAll(async () => {
      const subject = await get();
      truth = subject.truth;
      pageSize = truth.pageSize ?? 4096;
      machine = await open(subject.target);
      kernel = await machine.linux();
      const ram = truth.iomem
        .filter(({ name: what }) => what === "System RAM")
        .map(({ start, end }) => ({ start: Number(start), end: Number(end) }));
      for await (const owner of listOwners(kernel, ram, { onDamage: (found) => damage.push(found) })) {
        const frame = Math.floor(owner.physical / pageSize);
        const known = owners.get(frame);
        if (known === undefined) owners.set(frame, [owner]);
        else known.push(owner);
      }
    });
    afterAll(() => machine?.close());

    const ownersAt = (physical: number): PageOwner[] => owners.get(Math.floor(physical / pageSize)) ?? [];

    it("are told of every page of RAM, and nothing is damaged", () => {
      expect(damage.map(({ message }) => message)).toEqual([]);
      const pages = truth.iomem
        .filter(({ name: what }) => what === "System RAM")
        .reduce(
          (sum, { start, end }) =>
            sum + Math.ceil(Number(end) / pageSize) - Math.floor(Number(start) / pageSize),
          0,
        );
      expect(owners.size).toBe(pages);
    });

    it("of the program's pages are the program, at the addresses of its pagemap, under the names of its ranges", async () => {
      const vmas = await listVmas(kernel, { pid: truth.pid, pages: false }).toArray();
      const wrong: string[] = [];
      let checked = 0;
      for (const run of truth.programPages ?? []) {
        const start = BigInt(run.start);
        for (let at = start; at < BigInt(run.end); at += BigInt(pageSize)) {
          const physical = Number(run.physical) + Number(at - start);
          const vma = vmas.find((each) => at >= each.start && at < each.end);
          // (What maps devices is no RAM.)
          if (!owners.has(Math.floor(physical / pageSize))) continue;
          checked++;
          const found = ownersAt(physical).some(
            (owner) =>
              owner.kind === "process" &&
              owner.pid === truth.pid &&
              owner.virtual === at &&
              owner.path === vma?.path &&
              owner.rights === vma?.rights,
          );
          if (!found) wrong.push(`0x${at.toString(16)} in 0x${physical.toString(16)}`);
        }
      }
      expect(wrong).toEqual([]);
      expect(checked).toBeGreaterThan(500);
    });

    it("of the witness's own pages are the witness alone; of what both see, both", () => {
      const sharers = new Set<string>();
      for (const { start, physical, exclusive } of truth.witnessPages) {
        if (physical === null) continue;
        const found = ownersAt(Number(physical)).flatMap((owner) =>
          owner.kind === "process" ? [`${owner.pid} ${owner.virtual}`] : [],
        );
        expect(found).toContain(`${truth.witnessPid} ${BigInt(start)}`);
        if (exclusive === true) expect(found.length).toBe(1);
        for (const each of found) sharers.add(each.split(" ")[0] as string);
      }
      expect(sharers.has(String(truth.witnessPid))).toBe(true);
    });

    it("of pages that the kernel called free are nobody, but for the few that it has given out since", () => {
      let free = 0;
      let all = 0;
      for (const { start, end } of truth.freeMemory) {
        for (let at = Number(start); at < Number(end); at += pageSize) {
          const [owner] = ownersAt(at);
          if (owner === undefined) continue;
          all++;
          if (owner.kind === "free") free++;
        }
      }
      expect(all).toBeGreaterThan(1000);
      expect(free / all).toBeGreaterThan(0.97);
    });

    it("of pages of files are the files that processes map there, at the same offset", async () => {
      const wrong: string[] = [];
      let checked = 0;
      const vmas = await listVmas(kernel, { pages: false }).toArray();
      const byAddress = new Map(vmas.map((vma) => [`${vma.pid} ${vma.start}`, vma]));
      const starts = new Map<number | undefined, bigint[]>();
      for (const { pid, start } of vmas) starts.set(pid, [...(starts.get(pid) ?? []), start]);
      for (const [frame, found] of owners) {
        for (const file of found) {
          if (file.kind !== "page cache") continue;
          for (const owner of found) {
            if (owner.kind !== "process") continue;
            const start = starts.get(owner.pid)?.findLast((each) => each <= owner.virtual) ?? 0n;
            const vma = byAddress.get(`${owner.pid} ${start}`);
            if (vma === undefined || vma.end <= owner.virtual) continue;
            checked++;
            const offset = Number(vma.offset) + Number(owner.virtual - vma.start);
            const shown = file.deleted ? `${file.path} (deleted)` : file.path;
            if (
              shown !== vma.path ||
              file.inode !== vma.inode ||
              file.device !== vma.device ||
              file.offset !== offset
            ) {
              wrong.push(`frame ${frame}: ${shown} at ${file.offset}, not ${vma.path} at ${offset}`);
            }
          }
        }
      }
      expect(wrong).toEqual([]);
      expect(checked).toBeGreaterThan(100);
    });

    it("of the first page of programs hold what programs begin with", async () => {
      const firsts = [...owners.values()]
        .flat()
        .filter(
          (owner) =>
            owner.kind === "page cache" &&
            owner.offset === 0 &&
            /^\/(guest|bin\/busybox)$/.test(owner.path ?? ""),
        );
      expect(firsts.length).toBeGreaterThan(0);
      for (const { physical } of firsts) {
        const bytes = await machine.physical?.read(physical, 4);
        expect([...(bytes ?? [])]).toEqual([0x7f, 0x45, 0x4c, 0x46]);
      }
    });

    it("of tasks' own structures are the slabs that they are in, as objects in use", async () => {
      const tasks = await listTasks(kernel, { threads: true }).toArray();
      const places: number[] = [];
      for (const { address } of tasks) {
        const found = await kernel.memory.translate(address + 8n);
        if ("physical" in found) places.push(found.physical as number);
      }
      const list = await listOwners(kernel, places, { processes: false, onDamage: () => {} }).toArray();
      expect(
        list.map((owner) =>
          owner.kind === "slab" ? [owner.cache, owner.object, owner.objectOffset] : owner,
        ),
      ).toEqual(tasks.map(({ address }) => ["task_struct", address, 8]));
      expect(list.some((owner) => owner.kind === "slab" && owner.isFree === true)).toBe(false);
    });

    it("have the pages in each vmalloc area that /proc/vmallocinfo counted, and its caller", () => {
      const text = truth.texts["/proc/vmallocinfo"];
      if (text === undefined) return;
      const pages = new Map<bigint, Set<number>>();
      const add = (virtual: bigint, frame: number) => {
        const page = virtual - (virtual % BigInt(pageSize));
        pages.set(page, (pages.get(page) ?? new Set()).add(frame));
      };
      const callers = new Map<bigint, string | undefined>();
      for (const [frame, found] of owners) {
        for (const owner of found) {
          if (!("virtual" in owner) || owner.virtual === undefined || owner.kind === "process") continue;
          add(owner.virtual, frame);
          if (owner.kind === "vmalloc") callers.set(owner.start, owner.caller);
        }
      }
      const wrong: string[] = [];
      let checked = 0;
      for (const line of text.trim().split("\n")) {
        const match = /^0x([0-9a-f]+)-0x([0-9a-f]+)\s+\d+ (\S+) pages=(\d+) .*vmalloc/.exec(line);
        if (match === null) continue;
        const [start, end] = [BigInt(`0x${match[1]}`), BigInt(`0x${match[2]}`)];
        let count = 0;
        for (let at = start; at < end; at += BigInt(pageSize)) count += pages.get(at)?.size ?? 0;
        checked++;
        const caller = callers.get(start);
        if (count !== Number(match[4]) || (caller !== undefined && !match[3]?.startsWith(`${caller}+`)))
          wrong.push(`${line.trim()}: ${count} pages of ${caller}`);
      }
      expect(checked).toBeGreaterThan(20);
      // (Stacks of what ended since, or began.)
      expect(wrong.filter((line) => !line.includes("stack") && !/clone|fork|dup_task/.test(line))).toEqual(
        [],
      );
      expect(wrong.length).toBeLessThan(checked / 10);
    });

    it("are what /proc/kpageflags had each page for, but for the few that changed while it was printed, and since", () => {
      const runs = framesOf(truth);
      if (runs === undefined) return;
      const others = new Map<string, number>();
      let all = 0;
      let wrong = 0;
      let head = "";
      for (const { start, end, flags } of runs) {
        // Of a huge page, only the first says that it is a file's: the others are what it is.
        if (((flags >> KPF.head) & 1n) !== 0n) head = guestsUse(flags);
        const isTail = ((flags >> KPF.tail) & (flags >> KPF.huge) & 1n) !== 0n;
        for (let frame = start; frame < end; frame++) {
          const found = owners.get(frame);
          if (found === undefined) continue;
          all++;
          const guests = isTail ? head : guestsUse(flags);
          const mine = usesOf(found);
          if (mine.has(guests)) continue;
          wrong++;
          const what = `${guests}, not ${[...mine].join(" and ")}`;
          others.set(what, (others.get(what) ?? 0) + 1);
        }
      }
      const worst = [...others].sort(([, a], [, b]) => b - a).slice(0, 12);
      expect(all).toBeGreaterThan(20_000);
      expect(wrong / all, JSON.stringify(worst)).toBeLessThan(0.005);
      for (const use of ["free", "slab", "page table", "anonymous", "file", "reserved", "kernel"]) {
        expect(
          runs.some(({ flags }) => guestsUse(flags) === use),
          use,
        ).toBe(true);
      }
    });

    it("are as many processes as /proc/kpagecount counted", () => {
      const runs = framesOf(truth);
      if (runs === undefined) return;
      let all = 0;
      const wrong: string[] = [];
      for (const { start, end, flags, count } of runs) {
        // (Zero pages are not counted, nor what is reserved.)
        if (count === 0 || !["anonymous", "file"].includes(guestsUse(flags))) continue;
        for (let frame = start; frame < end; frame++) {
          const found = owners.get(frame);
          if (found === undefined) continue;
          all++;
          const mine = found.filter(({ kind }) => kind === "process").length;
          if (mine !== count) wrong.push(`frame ${frame}: ${count} mappings, not ${mine}`);
        }
      }
      expect(all).toBeGreaterThan(1000);
      expect(wrong.length / all, wrong.slice(0, 5).join("; ")).toBeLessThan(0.02);
    });
  });
}

/** What the guest printed of its frames; `undefined` if it did not (the committed dump's). */
function framesOf(truth: Truth): FrameRun[] | undefined {
  const text = truth.texts["page-frames"];
  return text
    ?.trim()
    .split("\n")
    .map((line) => {
      const [start = "", end = "", flags = "", count = ""] = line.split(" ");
      return {
        start: Number.parseInt(start, 16),
        end: Number.parseInt(end, 16),
        flags: BigInt(`0x${flags}`),
        count: Number.parseInt(count, 16),
      };
    });
}

/** One word for what a page is, by its flags. */
function guestsUse(flags: bigint): string {
  const has = (bit: bigint) => ((flags >> bit) & 1n) !== 0n;
  if (has(KPF.none)) return "none";
  if (has(KPF.zero)) return "zero";
  if (has(KPF.buddy)) return "free";
  if (has(KPF.slab)) return "slab";
  if (has(KPF.table)) return "page table";
  if (has(KPF.hugetlb)) return "hugetlb";
  if (has(KPF.reserved)) return "reserved";
  if (has(KPF.anonymous)) return "anonymous";
  if (has(KPF.lru) || has(KPF.mapped)) return "file";
  return "kernel";
}

/** The same words for what owners say. */
function usesOf(found: readonly PageOwner[]): Set<string> {
  const kinds = new Set<string>(found.map(({ kind }) => kind));
  const uses = new Set<string>();
  const isFile = kinds.has("page cache");
  if (kinds.has("zero page")) uses.add("zero").add("reserved");
  if (isFile) uses.add("file");
  if (!isFile && (kinds.has("process") || kinds.has("anonymous"))) uses.add("anonymous");
  // The allocator's blocks; lists of CPUs are none to /proc/kpageflags, and hold nothing.
  for (const owner of found) if (owner.kind === "free") uses.add(owner.list === "cpu" ? "kernel" : "free");
  for (const kind of ["slab", "page table", "hugetlb"]) if (kinds.has(kind)) uses.add(kind);
  // (Tables that were made before there were `struct page`s are reserved.)
  if (kinds.has("page table")) uses.add("reserved");
  if (kinds.has("no page structure")) uses.add("none");
  if (["kernel", "reserved", "per-cpu", "page structures"].some((kind) => kinds.has(kind)))
    uses.add("reserved");
  // What /proc/kpageflags has no flag for; tables above the last two have none either.
  const unmarked = ["kernel pages", "vmalloc", "stack", "module", "bpf", "per-cpu", "page table"];
  if (unmarked.some((kind) => kinds.has(kind))) uses.add("kernel");
  return uses;
}
