/** The connectors as PacketIo, over a real file and a real process. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { openFile } from "../../connectors/file.js";
import { mapFileWith } from "../../connectors/mapped-file.js";
import { openProcess } from "../../connectors/proc/open-process.js";
import { Scheduler, SourceIo } from "../../src/io/index.js";
import { packetIoSuite, sourceSuite } from "../suite/index.js";
import { pattern } from "../support/bytes.js";

const directory = mkdtempSync(join(tmpdir(), "memtool-conformance-"));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true });
});

for (const write of [true, false]) {
  sourceSuite(`a file opened ${write ? "for writing" : "for reading"}`, () => {
    const path = join(directory, "file");
    writeFileSync(path, pattern(13_001, 3));
    return {
      source: openFile(path, { write }),
      base: 0,
      truth: () => new Uint8Array(readFileSync(path)),
      bad: [{ start: 13_001, end: 13_050, state: "outside" }],
      writable: write,
      vanish: () => truncateSync(path, 0),
    };
  });
}

/** The tested bytes lie on both sides of the bound between two windows of a mapped file. */
const WINDOW = 65_536;
const BEFORE = WINDOW - 4000;
for (const write of [true, false]) {
  for (const inline of [true, false]) {
    const how = `${inline ? "inline" : "in batches"}, opened ${write ? "for writing" : "for reading"}`;
    packetIoSuite(`a mapped file, read ${how}`, async () => {
      const path = join(directory, "mapped");
      writeFileSync(path, pattern(BEFORE + 9001, 3));
      const source = await mapFileWith(path, { write }, { windowBytes: WINDOW, maxWindows: 1 });
      const io = new SourceIo(source, new Scheduler());
      return {
        io: inline ? source.inline(io) : io,
        base: BEFORE,
        truth: () => new Uint8Array(readFileSync(path)).subarray(BEFORE),
        writable: write,
        missing: { bytes: 12, state: "outside" },
        close: () => io.close(),
      };
    });
  }
}

for (const write of [true, false]) {
  sourceSuite(`a mapped file, opened ${write ? "for writing" : "for reading"}`, async () => {
    const path = join(directory, "mapped");
    writeFileSync(path, pattern(BEFORE + 9001, 3));
    return {
      source: await mapFileWith(path, { write }, { windowBytes: WINDOW, maxWindows: 1 }),
      base: BEFORE,
      truth: () => new Uint8Array(readFileSync(path)).subarray(BEFORE),
      bad: [{ start: 9001, end: 9050, state: "outside" }],
      writable: write,
      vanish: () => truncateSync(path, 0),
    };
  });
}

/** Node itself as the target: it keeps a buffer, finds where it lies by its content, and prints its bytes when asked. */
const TARGET = `
const bytes = new Uint8Array(Buffer.alloc(1 << 20).buffer, 4096, 13_000);
for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 13 + (i >> 8)) & 255;
const { openSync, readSync, readFileSync } = require("node:fs");
const mem = openSync("/proc/self/mem", "r");
const mark = Buffer.from(bytes.subarray(0, 64));
let found;
for (const line of readFileSync("/proc/self/maps", "utf8").split("\\n")) {
  const [, start, end, rights] = /^([0-9a-f]+)-([0-9a-f]+) (\\S+)/.exec(line) ?? [];
  if (rights === undefined || !rights.startsWith("rw")) continue;
  const size = Number(BigInt("0x" + end) - BigInt("0x" + start));
  const page = Buffer.alloc(4096);
  for (let at = 0; at < size; at += 4096) {
    try { readSync(mem, page, 0, 4096, BigInt("0x" + start) + BigInt(at)); } catch { break; }
    const i = page.indexOf(mark);
    if (i < 0) continue;
    const address = BigInt("0x" + start) + BigInt(at + i);
    const before = bytes[0];
    bytes[0] = 199;
    readSync(mem, page, 0, 1, address);
    bytes[0] = before;
    if (page[0] === 199) found = address;
  }
}
process.stdin.on("data", () => process.stdout.write(Buffer.from(bytes).toString("hex") + "\\n"));
process.stdout.write(found + "\\n");
`;

/** The next line that a child prints. */
function line(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const take = (data: Buffer) => {
      text += data.toString();
      if (!text.endsWith("\n")) return;
      child.stdout?.off("data", take);
      child.off("exit", fail);
      resolve(text.trim());
    };
    const fail = (code: number | null) => reject(new Error(`the target ended with ${code}`));
    child.stdout?.on("data", take);
    child.once("exit", fail);
  });
}

/** A target that no test has ended, for the next one. */
let idle: { readonly child: ChildProcess; readonly base: bigint } | undefined;

async function target(): Promise<{ readonly child: ChildProcess; readonly base: bigint }> {
  const running = idle;
  idle = undefined;
  if (running !== undefined) return running;
  const child = spawn(process.execPath, ["-e", TARGET], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  return { child, base: BigInt(await line(child)) };
}

if (process.platform === "linux") {
  for (const write of [true, false]) {
    sourceSuite(`a live process opened ${write ? "for writing" : "for reading"}`, async () => {
      const { child, base } = await target();
      let isGone = false;
      return {
        source: openProcess(child.pid ?? 0, { write }),
        base,
        // What the target itself says.
        truth: async () => {
          const answer = line(child);
          child.stdin?.write("?");
          return new Uint8Array(Buffer.from(await answer, "hex"));
        },
        writable: write,
        vanish: async () => {
          isGone = true;
          const ended = new Promise((resolve) => child.once("exit", resolve));
          child.kill("SIGKILL");
          await ended;
        },
        close: () => {
          if (!isGone) idle = { child, base };
        },
      };
    });
  }
}
