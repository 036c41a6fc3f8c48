/** RAM in a file: the very file that is mapped, or none. */
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type ProcessMap, parseDevices } from "../../../connectors/proc/maps.js";
import { fileOfStretch } from "../../../connectors/qemu/ram-file.js";

const directory = mkdtempSync(join(tmpdir(), "memtool-ram-file-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const START = 0x7f00_0000_0000n;

/** A shared mapping of a file, of which this process is said to have it. */
function mappingOf(path: string, inode = statSync(path).ino): ProcessMap {
  const rights = { readable: true, writable: true, executable: false, shared: true };
  return { start: START, end: START + 0x4000n, ...rights, offset: 0x1000n, inode, path };
}

function find(map: ProcessMap, device: bigint | undefined) {
  const devices = new Map(device === undefined ? [] : [[START, device] as const]);
  const found = fileOfStretch(process.pid, [map], devices, Number(START) + 0x2000, 0x1000);
  if (found === undefined) return undefined;
  const content = readFileSync(found.descriptor, "utf8");
  closeSync(found.descriptor);
  return { content, offset: found.offset };
}

function newFile(name: string) {
  const path = join(directory, name);
  writeFileSync(path, name);
  return { path, device: statSync(path, { bigint: true }).dev };
}

describe("the file that a guest's RAM is in", () => {
  it("is the one of that path, device and inode", () => {
    const { path, device } = newFile("ram");
    expect(find(mappingOf(path), device)).toEqual({ content: "ram", offset: 0x3000 });
  });

  it("is found among the process's open files when its path is gone", () => {
    const { path, device } = newFile("deleted");
    const map = mappingOf(path);
    const fd = openSync(path, "r");
    unlinkSync(path);
    try {
      expect(find({ ...map, path: `${path} (deleted)` }, device)?.content).toBe("deleted");
    } finally {
      closeSync(fd);
    }
  });

  it("is not one of another device that has the same inode, nor one whose device nothing tells", () => {
    const { path, device } = newFile("other-device");
    expect(find(mappingOf(path), device + 1n)).toBeUndefined();
    expect(find(mappingOf(path), undefined)).toBeUndefined();
  });

  it("is not one of the same device that has another inode", () => {
    const { path, device } = newFile("other-inode");
    expect(find(mappingOf(path, statSync(path).ino + 1_000_000), device)).toBeUndefined();
  });

  it("has the device that stat gives, whatever its numbers", () => {
    const text = [
      "7f0000000000-7f0000004000 rw-s 00000000 00:01 7 /memfd:ram (deleted)",
      "7f0000004000-7f0000008000 rw-s 00000000 103:12345 7 /a b",
      "not a map",
    ].join("\n");
    expect([...parseDevices(text)]).toEqual([
      [0x7f00_0000_0000n, 1n],
      [0x7f00_0000_4000n, 0x1231_0345n],
    ]);
  });
});
