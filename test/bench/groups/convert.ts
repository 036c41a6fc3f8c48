/**
 * `convert` of an ELF core of 1 GiB (in the page cache) to each form that it writes, beside `cp` of it; and of the
 * shipped guest's own RAM, beside `makedumpfile -c`, which takes no dump that is not of a kernel that it understands.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { type ConvertOptions, convert as convertDump, open } from "../../../connectors/connectors.js";
import { prstatus, writeElf } from "../../support/write-elf.js";
import { type Guest, guestOf } from "../dumps/guest.js";
import { needRoom } from "../dumps/kinds.js";
import { writeElfCore } from "../dumps/plain.js";
import { FileSink } from "../dumps/sink.js";
import { fixture, KDUMP } from "../fixture.js";
import { cpuMilliseconds } from "../measure.js";
import type { Group, Row, Timed } from "../row.js";
import { lazy, workPath } from "../work-folder.js";

/** The source, what of it is memory, and where to write. */
interface Source {
  readonly path: string;
  readonly bytes: number;
}

const large = lazy(async (): Promise<Source> => {
  needRoom(tmpdir(), 2 * 2 ** 30);
  const guest: Guest = await guestOf(1);
  const path = workPath("large.elf");
  writeElfCore(guest, path);
  return { path, bytes: guest.bytes };
});

/** RAM as it lies, zeros in the place of what the shipped dump leaves out, and the notes that makedumpfile needs. */
const shipped = lazy(async (): Promise<Source> => {
  const { ram } = await fixture();
  const machine = await open(KDUMP, { kernel: "none" });
  const vmcoreinfo = machine.image?.notes.vmcoreinfo ?? new Uint8Array(0);
  await machine.close();
  const notes = [prstatus(1, 0), { name: "VMCOREINFO", type: 0, description: vmcoreinfo }];
  const head = (offset: number) => {
    const size = { fileSize: ram.length, memorySize: ram.length };
    return writeElf([{ physical: 0, bytes: new Uint8Array(0), offset, ...size }], { notes });
  };
  const path = workPath("shipped.elf");
  const sink = new FileSink(path);
  sink
    .write(head(head(0).length))
    .write(ram)
    .close();
  return { path, bytes: ram.length };
});

const SAMPLES = 3;
const output = lazy(() => workPath("converted"));

/** What a program took: the shell says what its children used. */
function timed(program: string, args: readonly string[]): Timed {
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync("sh", ["-c", '"$@" >&2; times', "sh", program, ...args], {
    encoding: "utf8",
  });
  const wall = performance.now() - start;
  const children = stdout.trim().split("\n").pop() ?? "";
  const times = [...children.matchAll(/(\d+)m([\d.]+)s/g)].map(([, m, s]) => Number(m) * 60 + Number(s));
  if (status !== 0 || times.length !== 2) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
  return { cpu: ((times[0] as number) + (times[1] as number)) * 1000, wall, checksum: 0 };
}

function programRow(name: string, source: () => Promise<Source>, program: string, args: string[]): Row {
  return {
    name,
    isLimit: true,
    samples: SAMPLES,
    prepare: async () => {
      if (spawnSync("which", [program]).status !== 0) return undefined;
      const { path, bytes } = await source();
      const run = () => {
        rmSync(output(), { force: true });
        const took = timed(program, [...args, path, output()]);
        rmSync(output());
        return took;
      };
      return { run, operations: bytes };
    },
  };
}

function convertRow(
  name: string,
  source: () => Promise<Source>,
  limit: string,
  options: ConvertOptions,
): Row {
  return {
    name,
    samples: SAMPLES,
    against: [{ limit }],
    prepare: async () => {
      const { path, bytes } = await source();
      const run = async (): Promise<Timed> => {
        const wall = performance.now();
        const cpu = cpuMilliseconds();
        const machine = await open(path, { kernel: "none" });
        const { failed } = await convertDump(machine, output(), {
          vmcoreinfo: "note",
          force: true,
          ...options,
        });
        await machine.close();
        const took = { cpu: cpuMilliseconds() - cpu, wall: performance.now() - wall, checksum: failed };
        rmSync(output());
        return took;
      };
      return { run, expected: 0, operations: bytes };
    },
  };
}

const CP = "cp of an ELF core of 1 GiB";
const MAKEDUMPFILE = "makedumpfile -c -d 0, the shipped guest";

export const convert: Group = {
  name: "convert",
  title: "Convert (M/s are MB/s of memory)",
  rows: [
    programRow(CP, large, "cp", ["--sparse=never", "--reflink=never"]),
    convertRow("convert to raw", large, CP, { to: "raw" }),
    convertRow("convert to ELF", large, CP, { to: "elf" }),
    convertRow("convert to LiME", large, CP, { to: "lime" }),
    convertRow("convert to kdump, stored", large, CP, { to: "kdump", compress: "none" }),
    convertRow("convert to kdump, zlib", large, CP, { to: "kdump", compress: "zlib" }),
    convertRow("convert to kdump, zstd", large, CP, { to: "kdump", compress: "zstd" }),
    convertRow("convert to ELF, read back (--verify)", large, CP, { to: "elf", verify: true }),
    programRow(MAKEDUMPFILE, shipped, "makedumpfile", ["-f", "-c", "-d", "0"]),
    convertRow("convert to kdump, zlib, the shipped guest", shipped, MAKEDUMPFILE, {
      to: "kdump",
      compress: "zlib",
    }),
    convertRow("convert to kdump, zstd, the shipped guest", shipped, MAKEDUMPFILE, {
      to: "kdump",
      compress: "zstd",
    }),
  ],
};
