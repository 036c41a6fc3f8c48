/** Rights of pages against those of their ranges, which no program can make by itself: the fixture with entries of page tables changed. */
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  findProcess,
  listVmas,
  memoryOfTask,
  type SuspiciousMemory,
  suspiciousMemory,
} from "../../src/linux/index.js";
import { PatchedKernel } from "../support/patched-kernel.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";
/** What guest.c maps read-only and executable: 16 pages of no file. */
const CODE = 0x4300_0000_0000n;
const CODE_END = 0x4300_0001_0000n;

let patched: PatchedKernel;
let before: SuspiciousMemory[];
let after: SuspiciousMemory[];
/** A page that may be written and not executed. */
let data: bigint;

beforeAll(async () => {
  patched = await PatchedKernel.open(FIXTURE);
  const { kernel } = patched;
  before = await suspiciousMemory(kernel).toArray();
  const task = await findProcess(kernel, 97);
  const place = await kernel.memory.translate(task.address);
  const linear = task.address - BigInt("physical" in place ? (place.physical ?? 0) : 0);
  const space = memoryOfTask(kernel, task);
  const entryOf = async (address: bigint) => {
    const step = (await space.walk(address)).steps.at(-1);
    return { at: linear + BigInt(step?.entryAddress ?? 0), value: step?.entry ?? 0n };
  };
  const vmas = await listVmas(kernel, { pid: 97 }).toArray();
  data = vmas.find(({ rights, resident }) => rights === "rw-p" && (resident ?? 0) > 0)?.start ?? 0n;
  let entry = await entryOf(data);
  while ((entry.value & 1n) === 0n) {
    data += 4096n;
    entry = await entryOf(data);
  }
  const code = await entryOf(CODE);
  // (Another one, which has read no page table of the process yet.)
  const changed = await PatchedKernel.open(FIXTURE);
  await changed.setPointer(entry.at, entry.value & ((1n << 63n) - 1n));
  await changed.setPointer(code.at + 16n * 8n, code.value);
  after = await suspiciousMemory(changed.kernel).toArray();
  changed.close();
}, 60_000);
afterAll(() => patched?.close());

test("a sound guest has only the executable memory that its program asked for", () => {
  expect(before).toMatchObject([
    {
      pid: 97,
      start: CODE,
      end: CODE_END,
      rights: "r-xp",
      kinds: ["anonymous"],
      severity: "notice",
      resident: 16,
    },
  ]);
});

test("a page that may be executed in a range that may not is an alert, with its bytes", () => {
  const found = after.filter(({ kinds }) => kinds.includes("page rights"));
  expect(found).toMatchObject([{ severity: "alert", address: data, rights: "rw-p" }]);
  expect(found[0]?.evidence[0]).toContain("the page tables let 1 of its pages");
});

test("an executable page in no range of the process is an alert", () => {
  expect(after.filter(({ kinds }) => kinds.includes("no range"))).toMatchObject([
    { severity: "alert", start: CODE_END, end: CODE_END + 4096n, resident: 1, path: undefined },
  ]);
});

test("nothing else is found", () => {
  expect(after).toHaveLength(3);
});
