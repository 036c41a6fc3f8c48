/** The memory of another process. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "../../../connectors/index.js";
import { compiled, cProgram } from "../c-programs.js";
import { fixture, rawFile } from "../fixture.js";
import { copyPlain } from "../limits.js";
import { randomBelow } from "../random.js";
import type { Row } from "../row.js";
import { lazy, writeNumbers } from "../work-folder.js";

/** Pages of another process: a C program that holds the fixture's RAM. */
const PAGES = 4096;
const processPlaces = lazy(async () => {
  const { ram } = await fixture();
  const random = randomBelow();
  return Float64Array.from({ length: PAGES }, () => random(ram.length / 4096) * 4096);
});

/** A C program that holds the fixture's RAM, and where. */
export async function startTarget(): Promise<{ pid: number; address: bigint; close: () => void }> {
  const child = spawn(compiled("vmreadv"), ["target", await rawFile()], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdout.setEncoding("utf8");
  const [said] = (await once(child.stdout, "data")) as [string];
  const [pid = "", address = ""] = said.trim().split(" ");
  return { pid: Number(pid), address: BigInt(address), close: () => child.stdin.end() };
}

const vmreadvRow = (name: string, perCall: number): Row => ({
  name,
  operations: 10 * PAGES,
  isLimit: true,
  needsCompiler: true,
  prepare: async () => {
    const target = await startTarget();
    const places = await processPlaces();
    const { ram } = await fixture();
    const expected = copyPlain(ram, places, 4096, new Uint8Array(4096));
    const args = ["read", target.pid, String(target.address), writeNumbers([...places]), 4096, perCall];
    return cProgram("vmreadv", args, 10, { expected, close: target.close });
  },
});

/** Pages of a batch; each is compared with as many in a call of the C program. */
const SIZES = [1, 16, 128, 1024] as const;

const inC = (pages: number) =>
  `process_vm_readv in C, ${pages === 1 ? "a page" : `${pages.toLocaleString("en")} pages`} a call`;

/** `pages` random pages of 4 KiB by one gather after another. */
const gatherRow = (pages: number): Row => ({
  name: `gather of ${pages.toLocaleString("en")} ${pages === 1 ? "page" : "pages"}, another process`,
  operations: PAGES,
  needsCompiler: true,
  against: [{ limit: inC(pages) }],
  prepare: async () => {
    const target = await startTarget();
    const machine = await open({ connector: `proc:${target.pid}` });
    const { memory } = machine;
    const places = await processPlaces();
    const { ram } = await fixture();
    const into = new Uint8Array(4096 * PAGES);
    const virtual = BigUint64Array.from(places, (at) => target.address + BigInt(at));
    const batches = Array.from({ length: PAGES / pages }, (_, i) => ({
      addresses: virtual.subarray(i * pages, (i + 1) * pages),
      bytes: into.subarray(i * pages * 4096, (i + 1) * pages * 4096),
    }));
    const run = () => {
      let failed = 0;
      for (const { addresses, bytes } of batches)
        failed += memory.gather(addresses, 4096, bytes).sync().failed.length;
      return failed;
    };
    const check = () => {
      let sum = 0;
      for (let i = 0; i < PAGES; i++) sum += into[i * 4096 + ((i * 8) % 4096)] as number;
      return sum;
    };
    const close = async () => {
      await machine.close();
      target.close();
    };
    return { run, check, expected: copyPlain(ram, places, 4096, new Uint8Array(4096)), close };
  },
});

export const processRows: Row[] = [
  ...SIZES.map((pages) => vmreadvRow(inC(pages), pages)),
  {
    name: "readInto, random 4 KiB, another process",
    operations: PAGES,
    needsCompiler: true,
    against: [{ limit: inC(1) }],
    prepare: async () => {
      const target = await startTarget();
      const machine = await open({ connector: `proc:${target.pid}` });
      const { memory } = machine;
      const places = await processPlaces();
      const { ram } = await fixture();
      const into = new Uint8Array(4096);
      const virtual = Array.from(places, (at) => target.address + BigInt(at));
      const run = () => {
        let sum = 0;
        for (let i = 0; i < PAGES; i++) {
          memory.readInto(virtual[i] as bigint, into).sync();
          sum += into[(i * 8) % 4096] as number;
        }
        return sum;
      };
      const close = async () => {
        await machine.close();
        target.close();
      };
      return { run, expected: copyPlain(ram, places, 4096, new Uint8Array(4096)), close };
    },
  },
  ...SIZES.map(gatherRow),
];
