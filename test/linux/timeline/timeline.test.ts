import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Machine, open } from "../../../connectors/index.js";
import {
  isoTime,
  type Linux,
  listTasks,
  listTimeline,
  readClocks,
  type TimelineEntry,
} from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";
const SECOND = 1_000_000_000n;

const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
/** Offsets of the clocks as /proc/timer_list has them. */
const offsets = [...truth.texts["/proc/timer_list"].matchAll(/\.offset: *(\d+) nsecs/g)].map((match) =>
  BigInt(match[1]),
);

let machine: Machine;
let linux: Linux;
let entries: TimelineEntry[];
beforeAll(async () => {
  machine = await open(FIXTURE);
  linux = await machine.linux();
  entries = await linux.timeline({ future: true, onNote: () => {} }).toArray();
});
afterAll(() => machine?.close());

const of = (kind: string) => entries.filter((entry) => entry.kind === kind);

describe("the kernel's clocks", () => {
  test("are off the monotonic one what /proc/timer_list says, to the nanosecond", async () => {
    const clocks = await readClocks(linux);
    expect([clocks?.realOffset, clocks?.bootOffset, clocks?.taiOffset]).toEqual(offsets.slice(1, 4));
  });

  test("agree with each other: the time of day is the monotonic time and its offset", async () => {
    const { realtime = 0n, monotonic = 0n, realOffset = 0n } = (await readClocks(linux)) ?? {};
    const difference = realtime - monotonic - realOffset;
    expect(difference > -10n && difference < 10n).toBe(true);
  });

  test.each([
    [0n, "1970-01-01T00:00:00.000000000Z"],
    [1_795_879_751_000_000_001n, "2026-11-28T15:29:11.000000001Z"],
    [-1n, "1969-12-31T23:59:59.999999999Z"],
    [1n << 70n, "@1180591620717.411303424"],
  ])("%s ns are %s", (time, text) => {
    expect(isoTime(time)).toBe(text);
  });
});

describe("the timeline of the fixture", () => {
  test("is in the order of time, and nothing in it is doubtful", () => {
    expect(entries.length).toBeGreaterThan(500);
    expect(entries.filter(({ doubt }) => doubt !== null)).toEqual([]);
    for (const [i, { time }] of entries.entries()) {
      expect(i === 0 || time >= (entries[i - 1] as TimelineEntry).time).toBe(true);
    }
  });

  test("has every process's start as /proc/PID/stat has it, at the clocks' time of day", async () => {
    const starts = of("process").map(({ pid, time }) => [
      pid,
      Number((time - (offsets[1] as bigint)) / 10_000_000n),
    ]);
    const expected = (truth.processes as { pid: number; startTime: number }[]).map(({ pid, startTime }) => [
      pid,
      startTime,
    ]);
    expect(starts.sort((a, b) => (a[0] as number) - (b[0] as number))).toEqual(expected);
    for await (const { pid, raw } of listTasks(linux)) {
      expect(of("process").find((entry) => entry.pid === pid)?.stamp).toBe(raw.start);
    }
  });

  test("has every record of the log, its stamp to the microsecond", () => {
    const log = of("log").map(({ stamp, text }) => `${stamp / 1000n} ${text}`);
    const guests = (truth.log as { microseconds: number; text: string }[]).map(
      ({ microseconds, text }) => `${microseconds} ${text}`,
    );
    expect(new Set(log).size).toBeGreaterThan(300);
    // (What the guest printed has no control characters.)
    for (const line of guests.filter((each) => !each.includes("\\x"))) expect(log).toContain(line);
  });

  test("has the clock's setting within seconds of the time that it was set to", () => {
    const record = of("log").find(({ text }) => text.includes("setting system clock to"));
    const seconds = BigInt(/\((\d+)\)/.exec(record?.text ?? "")?.[1] ?? 0);
    const difference = (record?.time ?? 0n) - seconds * SECOND;
    expect(difference > -3n * SECOND && difference < 3n * SECOND).toBe(true);
  });

  test("has the times of files, and when they were made where the file system keeps it", () => {
    const init = of("file").filter(({ text }) => /: \/init \(inode/.test(text));
    expect(init.length).toBeGreaterThan(0);
    const made = of("file").filter(({ text }) => /made/.test(text));
    expect(made.length).toBeGreaterThan(0);
    const [boot] = of("boot");
    // What the guest made, it made after it began. (When it set its clock by the real-time one, that jumped a second or two.)
    const early = made.filter(({ time }) => time < (boot?.time ?? 0n) - 5n * SECOND);
    expect(early.map(({ time, text }) => `${isoTime(time)} ${text}`)).toEqual([]);
  });

  test("leaves out timers that are to come, and says how many, unless they are asked for", async () => {
    const notes: string[] = [];
    const without = await linux.timeline({ kinds: ["timer"], onNote: (note) => notes.push(note) }).toArray();
    expect(of("timer").length).toBeGreaterThan(without.length);
    expect(notes).toEqual([
      `${of("timer").length - without.length} timers that are still to expire are left out`,
    ]);
  });

  test("within two times has what is not before the first, and before the second", async () => {
    const since = entries[100]?.time as bigint;
    const until = entries[200]?.time as bigint;
    const found = await linux.timeline({ since, until, future: true }).toArray();
    expect(found).toEqual(entries.filter(({ time }) => time >= since && time < until));
  });

  test("of some kinds has those alone", async () => {
    const found = await linux.timeline({ kinds: ["now", "boot"] }).toArray();
    expect(found.map(({ kind }) => kind)).toEqual(["boot", "now"]);
  });
});

test("a stamp of the log is to the nanosecond, however long the machine has run", async () => {
  const patched = await PatchedKernel.open(FIXTURE);
  try {
    const { kernel } = patched;
    const types = await kernel.types();
    const word = async (at: bigint) => {
      const bytes = await kernel.memory.read(at, 8);
      return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    };
    const ring = await word((await kernel.symbol("prb")).address);
    const infos = await word(ring + BigInt(offsetOf(types, "printk_ringbuffer", "desc_ring.infos")));
    const stamp = 40_000_000_000_000_001n;
    await patched.setPointer(infos + BigInt(offsetOf(types, "printk_info", "ts_nsec")), stamp);
    const found = await listTimeline(kernel, { kinds: ["log"] }).toArray();
    expect(found.at(-1)).toMatchObject({ stamp, doubt: "more than a day after now" });
  } finally {
    await patched.close();
  }
});

describe("a kernel with a damaged", () => {
  test("start of a process has it last, with the doubt", async () => {
    const patched = await PatchedKernel.open(FIXTURE);
    try {
      const [task] = await listTasks(patched.kernel).toArray();
      const types = await patched.kernel.types();
      const at = (task?.address as bigint) + BigInt(offsetOf(types, "task_struct", "start_boottime"));
      await patched.setPointer(at, 1n << 62n);
      const found = await listTimeline(patched.kernel, { kinds: ["process", "now"] }).toArray();
      expect(found.filter(({ doubt }) => doubt !== null).map(({ pid }) => pid)).toEqual([1]);
      expect(found.at(-1)).toMatchObject({ pid: 1, doubt: "more than a day after now" });
    } finally {
      await patched.close();
    }
  });

  test("timekeeper has no timeline, and it is said why", async () => {
    const patched = await PatchedKernel.open(FIXTURE);
    try {
      const { address } = await patched.kernel.symbol("tk_core");
      await patched.remove(address);
      const run = listTimeline(patched.kernel, { onDamage: () => {} }).toArray();
      await expect(run).rejects.toThrow(/nothing tells what time it is/);
    } finally {
      await patched.close();
    }
  });
});
