/** Guests of QEMU without a system, through `qemu:`: conformance, memory that is plugged in, guests that end amid a read. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openQemu } from "../../connectors/index.js";
import { type BareMachine, startBare } from "../../fixtures/vm/bare.mjs";
import { Qmp } from "../../fixtures/vm/qmp.mjs";
import { all, readInto, readPartial, SourceIo, write } from "../../src/index.js";
import { sourceSuite } from "../suite/index.js";
import { pattern } from "../support/bytes.js";
import { startMemtool } from "../support/cli.js";

const MiB = 2 ** 20;
const MONITOR = ["-qmp", "unix:monitor,server=on,wait=off"];
const directory = mkdtempSync(join(tmpdir(), "memtool-qemu-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const start = (system: string, options: string, milliseconds = 0): Promise<BareMachine> =>
  startBare(system, [...options.split(" "), ...MONITOR], {}, milliseconds);

const BASE = 0x3f_cf00;
const noise = pattern(0x3100, 11);
writeFileSync(join(directory, "noise"), noise);

for (const [where, memory] of [
  ["in QEMU's process", "-m 4M"],
  [
    "in a file",
    "-m 4M -machine memory-backend=ram -object memory-backend-file,id=ram,size=4M,mem-path=ram,share=on",
  ],
] as const) {
  sourceSuite(`RAM ${where}`, async () => {
    const loader = `-device loader,file=${join(directory, "noise")},addr=${BASE},force-raw=on`;
    const machine = await start("x86_64", `-machine pc ${memory} ${loader}`);
    const saved = join(machine.directory, "saved");
    let isThere = true;
    return {
      source: await openQemu(String(machine.pid), { write: true }),
      base: BASE,
      truth: async () => {
        if (isThere) await machine.save(saved, BASE, noise.length);
        return isThere ? new Uint8Array(readFileSync(saved)) : noise;
      },
      bad: [{ start: noise.length, end: noise.length + 0x2000, state: "outside" }],
      writable: true,
      vanish: async () => {
        isThere = false;
        await machine.close();
      },
      close: machine.close,
    };
  });
}

describe("a guest of QEMU", () => {
  it.each([
    [
      "x86_64",
      "-machine q35 -m 4G -smp 2 -object memory-backend-ram,id=a,size=1G -object memory-backend-ram,id=b,size=3G -numa node,memdev=a -numa node,memdev=b",
    ],
    ["aarch64", "-machine virt -cpu cortex-a57 -m 512M"],
    ["riscv64", "-machine virt -m 128M"],
  ])("has its RAM where QEMU says, with a monitor and without: %s %s", async (system, options) => {
    const machine = await start(system, options, 200);
    try {
      for (const qmp of [undefined, "none"]) {
        const source = await openQemu(String(machine.pid), { qmp });
        expect(source.found).toBe(qmp === undefined ? "monitor" : "command line");
        const io = new SourceIo(source);
        for (const { start: from, end, address } of source.ram) {
          for (const at of [from, from + Math.floor((end - from) / 2), end - 1]) {
            const text = await machine.hmp(`gpa2hva 0x${at.toString(16)}`);
            expect(text).toContain(`is 0x${(address + at - from).toString(16)}`);
          }
          const size = Math.min(end - from, 0x1_0000);
          const path = join(machine.directory, "saved");
          await machine.save(path, from, size);
          const bytes = new Uint8Array(size);
          await readInto(io, from, bytes);
          expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
        }
        await source.close?.();
      }
    } finally {
      await machine.close();
    }
  });

  it("gives each NUMA node its own bytes in one batch, whichever of them is lower in QEMU's process", async () => {
    const MORE = 64 * MiB;
    const nodes = ["a", "b", "c"].map(
      (id) => `-object memory-backend-ram,id=${id},size=64M -numa node,memdev=${id}`,
    );
    const machine = await start("x86_64", `-machine pc -m 192M ${nodes.join(" ")}`);
    try {
      const source = await openQemu(String(machine.pid), { write: true });
      const io = new SourceIo(source);
      const starts = [MiB, MORE + MiB, 2 * MORE + MiB];
      for (const start of starts) await write(io, start, pattern(MiB, start));
      // As a kernel's structures are read: many small ones here and there.
      const places = Array.from({ length: 300 }, (_, i) => (starts[i % 3] as number) + i * 3000);
      const read = await all(places.map((at) => readInto(io, at, 48)));
      for (const start of starts) {
        const path = join(machine.directory, "saved");
        await machine.save(path, start, MiB);
        const truth = readFileSync(path);
        expect(Buffer.compare(truth, pattern(MiB, start))).toBe(0);
        places.forEach((at, i) => {
          if (at < start || at >= start + MiB) return;
          expect(Buffer.compare(read[i] as Uint8Array, truth.subarray(at - start, at - start + 48))).toBe(0);
        });
      }
      await source.close?.();
    } finally {
      await machine.close();
    }
  });

  it("has memory that is plugged in while it runs, as far as a monitor tells", async () => {
    const machine = await start("x86_64", "-machine q35 -m 64M,slots=2,maxmem=1G");
    try {
      const end = async (qmp?: string) => {
        const source = await openQemu(String(machine.pid), { qmp });
        await source.close?.();
        return { end: source.ranges().end, remarks: source.remarks?.join() };
      };
      await machine.qmp("object-add", { "qom-type": "memory-backend-ram", id: "more", size: 128 * MiB });
      await machine.qmp("device_add", { driver: "pc-dimm", id: "dimm", memdev: "more" });
      expect((await end()).end).toBe(2 ** 32 + 128 * MiB);
      const without = await end("none");
      expect(without.end).toBe(64 * MiB);
      expect(without.remarks).toContain("plugged in since it started is left out");
    } finally {
      await machine.close();
    }
  });

  it("is read all the same while another client has its monitor, and says so", async () => {
    const machine = await start("x86_64", "-machine pc -m 64M");
    const other = await Qmp.connect(join(machine.directory, "monitor"), 5000);
    try {
      const args = ["read", "0x100000", "--length", "16", "--physical", "-c", `qemu:${machine.pid}`];
      const child = startMemtool(args);
      let err = "";
      child.stderr?.on("data", (text) => {
        err += String(text);
      });
      expect(await new Promise((resolve) => child.once("close", resolve))).toBe(0);
      // (The monitor of the harness comes second, and has a client too.)
      expect(err).toContain("another QMP client may have it");
    } finally {
      other.close();
      await machine.close();
    }
  });

  it("that ends amid a read of a million pages: a clear error, what was read is kept, exit status 3", async () => {
    const machine = await start("x86_64", "-machine pc -m 5G");
    try {
      const args = ["read", "0x100000000", "--length", "2G", "--physical", "--format", "raw", "--skip-holes"];
      const child = startMemtool([...args, "-c", `qemu:${machine.pid}`]);
      let bytes = 0;
      let err = "";
      child.stderr?.on("data", (text) => {
        err += String(text);
      });
      child.stdout?.on("data", (chunk: Buffer) => {
        // (The pipe is full then, and memtool waits in the middle of its read.)
        if (bytes === 0) process.kill(machine.pid, "SIGKILL");
        bytes += chunk.length;
      });
      const status = await new Promise((resolve) => child.once("close", resolve));
      expect(status, err).toBe(3);
      expect(bytes).toBeGreaterThan(0);
      expect(bytes).toBeLessThan(2 ** 31);
      expect(err).toMatch(/gone/);
    } finally {
      await machine.close();
    }
  });

  it("that ends leaves what was read to a program, and fails the rest as gone", async () => {
    const machine = await start("x86_64", "-machine pc -m 64M");
    const source = await openQemu(String(machine.pid));
    const io = new SourceIo(source);
    const before = await readPartial(io, 0x10_0000, 4096);
    await machine.close();
    const { good, holes } = await readPartial(io, 0x10_0000, 4096);
    expect(before.holes).toEqual([]);
    expect(good).toEqual([]);
    expect(holes.map(({ state }) => state)).toEqual(["gone"]);
    await source.close?.();
  });
});
