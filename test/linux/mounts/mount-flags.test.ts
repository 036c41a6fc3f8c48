import { describe, expect, it } from "vitest";
import {
  isIdmapped,
  mountOptions,
  propagationOf,
  superOptions,
} from "../../../src/linux/mounts/mount-flags.js";

describe("flags of mounts", () => {
  it("are named in mountinfo's order", () => {
    expect(mountOptions(0)).toEqual(["rw"]);
    expect(mountOptions(0xff)).toEqual([
      "ro",
      "nosuid",
      "nodev",
      "noexec",
      "noatime",
      "nodiratime",
      "relatime",
      "nosymfollow",
    ]);
    expect(superOptions(1)).toEqual(["ro"]);
    expect(superOptions(0x200_00d0)).toEqual(["rw", "sync", "dirsync", "mand", "lazytime"]);
  });

  it("say how mounts propagate, unless newer kernels say it elsewhere", () => {
    expect(propagationOf(0x1020, undefined)).toEqual({ shared: true, unbindable: false });
    expect(propagationOf(0x2000, undefined)).toEqual({ shared: false, unbindable: true });
    expect(propagationOf(0x3000, 0)).toEqual({ shared: false, unbindable: false });
    expect(propagationOf(0, 3)).toEqual({ shared: true, unbindable: true });
  });

  it("call idmapped what has an idmap, or a user namespace that is neither the first nor the file system's", () => {
    const none = { idmap: undefined, userNamespace: undefined };
    expect(isIdmapped(none, 1n, 2n, 3n)).toBe(false);
    expect(isIdmapped({ ...none, idmap: 2n }, 1n, 2n, 3n)).toBe(false);
    expect(isIdmapped({ ...none, idmap: 4n }, 1n, 2n, 3n)).toBe(true);
    expect(isIdmapped({ ...none, userNamespace: 3n }, 1n, undefined, 3n)).toBe(false);
    expect(isIdmapped({ ...none, userNamespace: 1n }, 1n, undefined, 3n)).toBe(false);
    expect(isIdmapped({ ...none, userNamespace: 4n }, 1n, undefined, 3n)).toBe(true);
  });
});
