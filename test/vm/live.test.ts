/**
 * A guest that goes on running, read through every connector that can: each is a row of `WAYS`. Judges: what QEMU itself saves of its memory,
 * and what the guest's own ps printed.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Machine,
  type OpenOptions,
  open,
  openQemu,
  type ServedSource,
  serveSource,
} from "../../connectors/index.js";
import { bootLive, type LiveGuest } from "../../fixtures/vm/live.mjs";
import { hex, readInto, WouldBlockError } from "../../src/index.js";
import { jsonLines, memtool, startMemtool } from "../support/cli.js";

/** A way to the guest's memory. */
interface Way {
  readonly name: string;
  /**
   * What to open, in the form of `--connector`.
   *
   * @param paused Whether the guest was paused before, and is to stay so.
   */
  readonly connector: (guest: LiveGuest, paused: boolean) => string;
  /** Whether it tells of processors, so that nothing has to be looked for. */
  readonly registers: boolean;
  /** Whether it only answers asynchronously. */
  readonly blocks?: true;
  /** Whether it can't pause the guest. */
  readonly onlyReads?: true;
}

const WAYS: readonly Way[] = [
  { name: "qemu: by name", connector: ({ name }) => `qemu:${name}`, registers: true },
  { name: "qemu: by process", connector: ({ pid }) => `qemu:${pid}`, registers: true },
  {
    name: "qemu: by QMP socket",
    connector: ({ monitor }) => `qemu:${monitor}`,
    registers: true,
  },
  {
    name: "qemu: without a monitor",
    connector: ({ name }) => `qemu:${name}:qmp=none`,
    registers: false,
  },
  {
    name: "gdb:",
    connector: ({ gdb }, paused) => `gdb:unix:${gdb}:resume=${!paused}`,
    registers: true,
    blocks: true,
  },
  {
    name: "gdb: in a thread",
    connector: ({ gdb }, paused) => `gdb:unix:${gdb}:worker=true,resume=${!paused}`,
    registers: true,
  },
  // Where RAM is in QEMU's process, as `openQemu` found it.
  {
    name: "proc: with a map",
    connector: ({ pid }) => `proc:${pid}:map=${map}`,
    registers: false,
    onlyReads: true,
  },
  {
    name: "net: over qemu:",
    connector: () => `net:unix:${socket}:token=${TOKEN}`,
    registers: true,
    blocks: true,
    onlyReads: true,
  },
];

const TOKEN = "the token of the live guest";
let served: ServedSource;
let socket = "";
let map = "";
let guest: LiveGuest;
/** Physical memory at the moment at which the guest was paused. */
let saved: Buffer;
beforeAll(async () => {
  guest = await bootLive({ log: (line) => console.log(line) });
  await guest.qmp("stop");
  const path = join(guest.directory, "saved");
  await guest.save(path, 0, 128 * 2 ** 20);
  saved = await readFile(path);
  const source = await openQemu(guest.name);
  map = source.ram.map(({ start, end, address }) => `${hex(start)}-${hex(end)}@${hex(address)}`).join(",");
  socket = join(guest.directory, "served");
  served = await serveSource(source, { path: socket }, { kind: "physical", token: TOKEN });
});
afterAll(async () => {
  await served?.close();
  await guest?.close();
});

const status = async () => ((await guest.qmp("query-status")) as { status: string }).status;
const delay = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

let isPaused = true;
const targetOf = (way: Way) => way.connector(guest, isPaused);

async function using<T>(
  way: Way,
  use: (machine: Machine) => Promise<T>,
  options: OpenOptions = {},
): Promise<T> {
  const machine = await open({ connector: targetOf(way) }, options);
  try {
    return await use(machine);
  } finally {
    await machine.close();
  }
}

/** Threads of the kernel that come and go by themselves. */
const isPassing = (comm: string) => comm.startsWith("kworker") || comm === "churn";

/** What the guest's ps printed, but for itself and what comes and goes: number, parent, name. */
function printed(): string[] {
  const listing = guest.texts.get("listing")?.trim();
  return (guest.texts.get("ps") ?? "")
    .split("\n")
    .slice(1)
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*\S)\s*$/.exec(line) as RegExpExecArray)
    .filter(([, pid, , comm = ""]) => pid !== listing && !isPassing(comm))
    .map(([, pid, ppid, comm]) => `${pid} ${ppid} ${comm}`);
}

/** The same, as memtool lists it. */
function listed(rows: readonly Record<string, unknown>[]): string[] {
  return rows
    .filter(({ comm, name }) => !isPassing(String(comm ?? name)))
    .map(({ pid, ppid, comm, name }) => `${pid} ${ppid} ${comm ?? name}`);
}

describe.each(WAYS)("a paused guest, through $name", (way) => {
  it("has the bytes that QEMU saves", async () => {
    await using(
      way,
      async ({ source }) => {
        const ranges = [...source.ranges];
        const covered = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
        // All but what VGA and the firmware's ROMs hide.
        expect(covered).toBeGreaterThan(saved.length - 0x8_0000);
        for (const { start, end } of ranges) {
          if (start >= saved.length) continue;
          const bytes = new Uint8Array(Math.min(end, saved.length) - start);
          await readInto(source, start, bytes);
          expect(Buffer.compare(saved.subarray(start, start + bytes.length), bytes), `from ${start}`).toBe(0);
        }
      },
      { kernel: "none" },
    );
  });

  it("is read synchronously, or says that it can't", async () => {
    await using(
      way,
      async ({ physical }) => {
        const ask = () => physical?.read(0x10_0000, 64).sync();
        if (way.blocks === true) expect(ask).toThrow(WouldBlockError);
        else expect(Buffer.compare(ask() ?? new Uint8Array(), saved.subarray(0x10_0000, 0x10_0040))).toBe(0);
      },
      { kernel: "none" },
    );
  });

  it("has the processes that its own ps printed", async () => {
    const { out, err, status: code } = await memtool(["ps", "--json", "-c", targetOf(way)]);
    expect(code, err).toBe(0);
    expect(listed(jsonLines(out))).toEqual(printed());
  });

  it("tells of its processors when it can", async () => {
    await using(
      way,
      async ({ notes, paging, dumpRoots }) => {
        expect(notes?.cpus.length ?? 0).toBe(way.registers ? 2 : 0);
        if (!way.registers) return;
        expect(notes?.architecture).toBe("x86_64");
        expect(paging).toMatchObject({ mmu: { name: "x86-64" }, source: "registers of CPU 0" });
        expect(dumpRoots.length).toBe(2);
      },
      { kernel: "none" },
    );
  });

  it.skipIf(way.onlyReads)("stays paused when memtool has paused it and goes", async () => {
    await using(way, async () => {}, { freeze: true, kernel: "none" });
    expect(await status()).toBe("paused");
  });
});

describe.each(WAYS)("a running guest, through $name", (way) => {
  const counterAt = () => Number(guest.texts.get("counter")?.split(" ")[2]);
  const count = async ({ source }: Machine) => {
    const bytes = new Uint8Array(8);
    await readInto(source, counterAt(), bytes);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  };
  beforeAll(async () => {
    isPaused = false;
    await guest.qmp("cont");
  });
  afterAll(async () => {
    isPaused = true;
    await guest.qmp("stop");
  });

  /** Waits until it has counted; opened anew each time, as some ways pause it while they are open. */
  async function isCounting(): Promise<boolean> {
    const ask = () => using(way, count, { kernel: "none" });
    const before = await ask();
    for (let i = 0; i < 100; i++) {
      await delay(20);
      if ((await ask()) !== before) return true;
    }
    return false;
  }

  it("is seen to count", async () => {
    expect(await isCounting()).toBe(true);
  });

  it("is listed to the end while its processes come and go", async () => {
    for (const command of ["ps", "files", "maps"]) {
      const args = [command, "--json", ...(command === "maps" ? ["--pid", "1"] : []), "-c", targetOf(way)];
      let { out, err, status: code } = await memtool(args);
      // A list that moved meanwhile may be read in part. One is compared: of several readings of it one is whole.
      for (let again = 0; command === "ps" && code === 3 && again < 10; again++)
        ({ out, err, status: code } = await memtool(args));
      expect([0, 3], err).toContain(code);
      expect(jsonLines(out).length).toBeGreaterThan(5);
      if (command === "ps") expect(listed(jsonLines(out))).toEqual(expect.arrayContaining(printed()));
    }
  });

  it.skipIf(way.onlyReads)(
    "does not count while memtool has paused it, and does again when it goes",
    async () => {
      await using(
        way,
        async (machine) => {
          const before = await count(machine);
          await delay(300);
          expect(await count(machine)).toBe(before);
        },
        { freeze: true, kernel: "none" },
      );
      expect(await isCounting()).toBe(true);
    },
  );

  it.skipIf(way.onlyReads).each(["SIGINT", "SIGKILL"] as const)(
    "goes on when memtool is ended by %s while it has paused it",
    async (signal) => {
      // It waits for its input, with the guest paused.
      const args = ["read", "--stdin", "--physical", "--freeze", "-c", targetOf(way)];
      const child = startMemtool(args);
      const ended = new Promise((resolve) => child.once("close", resolve));
      child.stdin?.write(`${counterAt()} 8\n`);
      await new Promise((resolve) => child.stdout?.once("data", resolve));
      child.kill(signal);
      await ended;
      expect(await isCounting()).toBe(true);
    },
  );
});
