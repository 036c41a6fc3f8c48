import { describe, expect, it } from "vitest";
import { deviceText, fileFlagNames, fileType } from "../../../src/linux/index.js";

describe("flags of open files", () => {
  it("are named as open(2) names them, the access mode first", () => {
    expect(fileFlagNames(0, "x86_64")).toEqual(["O_RDONLY"]);
    expect(fileFlagNames(0o2102001, "x86_64")).toEqual(["O_WRONLY", "O_APPEND", "O_CLOEXEC", "O_LARGEFILE"]);
    expect(fileFlagNames(3, "x86_64")).toEqual(["O_ACCMODE"]);
  });

  it("tell O_SYNC from O_DSYNC, whose bit it holds", () => {
    expect(fileFlagNames(0o10002, "x86_64")).toEqual(["O_RDWR", "O_DSYNC"]);
    expect(fileFlagNames(0o4010002, "x86_64")).toEqual(["O_RDWR", "O_SYNC"]);
  });

  it("have other numbers on arm64", () => {
    expect(fileFlagNames(0o200000, "x86_64")).toEqual(["O_RDONLY", "O_DIRECTORY"]);
    expect(fileFlagNames(0o200000, "aarch64")).toEqual(["O_RDONLY", "O_DIRECT"]);
    expect(fileFlagNames(0o440000, "aarch64")).toEqual(["O_RDONLY", "O_DIRECTORY", "O_LARGEFILE"]);
  });

  it("are a number where they have no name", () => {
    expect(fileFlagNames(0x8000_0000, "x86_64")).toEqual(["O_RDONLY", "020000000000"]);
  });

  it("have types of inodes beside them", () => {
    const types = [0o100644, 0o40755, 0o20666, 0o60660, 0o10600, 0o140777, 0o120777, 0o600].map(fileType);
    expect(types).toEqual(["reg", "dir", "chr", "blk", "fifo", "sock", "link", "anon"]);
  });

  it("have devices of 12 and 20 bits", () => {
    expect(deviceText(0x0080_0001)).toBe("8:1");
    expect(deviceText(0xffff_ffff)).toBe("4095:1048575");
  });
});
