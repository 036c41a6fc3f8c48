/** What a hostile dump makes of a process's page tables: `suspiciousMemory` ends, tells what it left out, and gives the rest. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  findProcess,
  listVmas,
  memoryOfTask,
  type SuspiciousMemory,
  suspiciousMemory,
} from "../../src/linux/index.js";
import { PatchedKernel } from "../support/patched-kernel.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";
const PID = 97;
const NO_EXECUTE = 1n << 63n;

describe("malfind of a process whose page tables repeat", () => {
  let patched: PatchedKernel;
  /** Entries on the way to a page of the program's code, the top table's first: the kernel's addresses of their tables, and they. */
  let way: { readonly table: bigint; readonly entry: bigint }[];
  beforeEach(async () => {
    const sound = await PatchedKernel.open(FIXTURE);
    const { kernel } = sound;
    const task = await findProcess(kernel, PID);
    const place = await kernel.memory.translate(task.address);
    const linear = task.address - BigInt("physical" in place ? (place.physical ?? 0) : 0);
    const vmas = await listVmas(kernel, { pid: PID, pages: false }).toArray();
    const code = vmas.find(({ path, rights }) => path === "/guest" && rights === "r-xp");
    const { steps } = await memoryOfTask(kernel, task).walk(code?.start ?? 0n);
    way = steps.map(({ entryAddress = 0, entry }) => ({
      table: linear + BigInt(entryAddress - (entryAddress % 4096)),
      entry: (entry ?? 0n) & ~NO_EXECUTE,
    }));
    await sound.close();
    // (Another one, which has read no page table of the process yet.)
    patched = await PatchedKernel.open(FIXTURE);
  });
  afterEach(() => patched?.close());

  /** Has all entries of a table, or the lower half of the top one, lead to one place, or to several in turn. */
  async function fill(level: number, ...entries: bigint[]): Promise<void> {
    const { table } = way[level] as (typeof way)[number];
    const count = level === 0 ? 256 : 512;
    const words = BigUint64Array.from({ length: count }, (_, i) => entries[i % entries.length] as bigint);
    await patched.set(table, new Uint8Array(words.buffer));
  }

  async function find(): Promise<{ found: SuspiciousMemory[]; damage: string[] }> {
    const damage: string[] = [];
    const found = await suspiciousMemory(patched.kernel, {
      pid: PID,
      onDamage: ({ message }) => damage.push(message),
    }).toArray();
    return { found, damage };
  }

  test("ends where a table is visited for ever, and tells that the rest can't be told", async () => {
    for (const level of [0, 1, 2]) await fill(level, (way[level] as (typeof way)[number]).entry);
    const { damage } = await find();
    expect(damage.filter((each) => each.startsWith(`the pages of process ${PID} `))).toEqual([
      expect.stringMatching(/malformed|repeat|loop/),
    ]);
  });

  test("keeps no more than a million pages that do not follow each other, and tells it", async () => {
    const leaf = (way[3] as (typeof way)[number]).entry;
    await fill(3, leaf, leaf + 0x4000n);
    for (const level of [1, 2]) await fill(level, (way[level] as (typeof way)[number]).entry);
    const { found, damage } = await find();
    expect(damage.filter((each) => each.startsWith(`the pages of process ${PID} `))).toEqual([
      expect.stringMatching(/no more of its pages are looked at/),
    ]);
    // All of them side by side, in no range: what is one piece is one finding.
    expect(found.length).toBeLessThan(100);
    expect(found.find(({ kinds }) => kinds.includes("no range"))).toMatchObject({ severity: "alert" });
  });
});
