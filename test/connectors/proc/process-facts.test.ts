import { closeSync, openSync } from "node:fs";
import { expect, it } from "vitest";
import { pageText } from "../../../cli/process-pages.js";
import { AT_PAGESZ, AT_RANDOM, parseAuxv } from "../../../connectors/proc/auxv.js";
import { findProcessNumber } from "../../../connectors/proc/find-process.js";
import { openProcessWith } from "../../../connectors/proc/open-process.js";
import { parseEntry } from "../../../connectors/proc/pagemap.js";
import { type ListedProcess, parseStat } from "../../../connectors/proc/tasks.js";

const listed: ListedProcess[] = [
  { pid: 2, name: "kthreadd", commandLine: [] },
  { pid: 7, name: "sshd", commandLine: [] },
  { pid: 10, name: "sshd", commandLine: ["/usr/sbin/sshd", "-D"] },
  { pid: 11, name: "bash", commandLine: ["-bash"] },
  { pid: 12, name: "bash", commandLine: ["bash", "-c", "\u001b[31mred\n\u202e"] },
  { pid: 13, name: "a-name-that-is-", commandLine: ["./other"] },
  { pid: process.pid, name: "sshd", commandLine: ["sshd"] },
];
const find = (target: string) => findProcessNumber(`proc:${target}`, target, () => listed);

it("a process is found by its name, and by that of its program", () => {
  expect(["sshd", "kthreadd", "other", "a-name-that-is-longer"].map(find)).toEqual([10, 2, 13, 13]);
});

it("several of one name are listed, and can't control the terminal", () => {
  expect(() => find("bash")).toThrow(
    expect.objectContaining({
      code: "AMBIGUOUS_PROCESS",
      message:
        "proc:bash: 2 processes have that name: give the number of one: 11 (-bash), 12 (bash -c \\u{1b}[31mred\\u{a}\\u{202e})",
    }),
  );
});

it("no process of a name is told so", () => {
  expect(() => find("nobody")).toThrow(expect.objectContaining({ code: "NO_SUCH_PROCESS" }));
});

it.skipIf(process.platform !== "linux")(
  "a process is closed once, and its files' numbers are left alone after that",
  () => {
    const source = openProcessWith(process.pid, {}, {});
    source.close?.();
    const others = Array.from({ length: 5 }, () => openSync("/proc/self/maps", "r"));
    source.close?.();
    expect(source.maps()).toEqual([]);
    expect([...source.pages()]).toEqual([]);
    for (const other of others) closeSync(other);
  },
);

it.each(["darwin", "win32"])("on %s, it is told that there are none", (platform) => {
  expect(() => openProcessWith(1, {}, { platform })).toThrow(
    expect.objectContaining({
      code: "NOT_ON_PLATFORM",
      message: expect.stringContaining(`this is ${platform}`),
    }),
  );
});

it("the name of a thread may hold anything", () => {
  expect(parseStat("12 (a) b (\n) S 1 2 3")).toEqual({ tid: 12, name: "a) b (\n", state: "S" });
  expect(parseStat("garbage")).toBeUndefined();
});

/** Bits as Documentation/admin-guide/mm/pagemap.rst numbers them. */
function entry(value: bigint) {
  return parseEntry(0x1000n, 4096, Number(value & 0xffff_ffffn), Number(value >> 32n));
}
const bit = (n: number) => 1n << BigInt(n);

it("a page that is present has its frame, and flags", () => {
  expect(entry(bit(63) | bit(61) | bit(55) | 0x12_3456_789an)).toEqual({
    address: 0x1000n,
    size: 4096,
    state: "present",
    physical: 0x12_3456_789a_000,
    softDirty: true,
    exclusive: false,
    file: true,
    writeProtected: false,
    guard: false,
  });
  expect(entry(bit(63) | bit(56) | bit(57) | 1n)).toMatchObject({
    exclusive: true,
    writeProtected: true,
    file: false,
  });
});

it("a frame of zero is one that is not told", () => {
  expect(entry(bit(63))).toMatchObject({ state: "present", physical: undefined });
});

it("a page that was swapped out has its area and slot", () => {
  expect(entry(bit(62) | (0x3_ffff_ffff_ffffn << 5n) | 3n)).toMatchObject({
    state: "swapped",
    swap: { area: 3, slot: 0x3_ffff_ffff_ffff },
  });
});

it("a swapped page has no slot where the system does not tell, or it is in no swap area", () => {
  for (const value of [0n, (5n << 5n) | 28n]) {
    const page = entry(bit(62) | value);
    expect([page.state, page.swap]).toEqual(["swapped", undefined]);
    expect(pageText({ page, physical: undefined, frame: undefined })).toBe("swapped out");
  }
});

it("a mark that the kernel leaves where no page is does not count as swapped", () => {
  // As Linux 6.15 shows a guard region to root and to others, and userfaultfd's protection of what is not there.
  for (const value of [bit(58) | (4n << 5n) | 31n, bit(58)]) {
    expect(entry(bit(62) | value)).toMatchObject({ state: "none", guard: true });
  }
  expect(entry(bit(62) | bit(57) | (1n << 5n) | 31n)).toMatchObject({ state: "none", writeProtected: true });
});

it("what is not there yet is neither, and may be guarded", () => {
  expect(entry(0n)).toMatchObject({ state: "none", guard: false });
  expect(entry(bit(58))).toMatchObject({ state: "none", guard: true });
});

function vector(wide: boolean, pairs: readonly (readonly [number, number])[]): Uint8Array {
  const words = pairs.flat();
  return wide
    ? new Uint8Array(BigUint64Array.from(words, BigInt).buffer)
    : new Uint8Array(Uint32Array.from(words).buffer);
}

it.each([true, false])("what a program was told is read, 64 bits wide: %s", (wide) => {
  const values = parseAuxv(
    vector(wide, [
      [16, 0x1234],
      [AT_PAGESZ, 65536],
      [AT_RANDOM, 0x7ffe_0001],
      [0, 0],
      [3, 3],
    ]),
  );
  expect([values.get(AT_PAGESZ), values.get(AT_RANDOM), values.size]).toEqual([65536n, 0x7ffe_0001n, 3]);
});

it("what is no such vector tells nothing", () => {
  expect(parseAuxv(new Uint8Array(7)).size).toBe(0);
  expect(
    parseAuxv(
      vector(true, [
        [AT_PAGESZ, 4097],
        [0, 0],
      ]),
    ).size,
  ).toBe(0);
});
