import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isQemuProgram, parseCommandLine } from "../../../connectors/qemu/command-line.js";
import { parseOptions, parseSize } from "../../../connectors/qemu/option-text.js";
import { REAL_MACHINES, real } from "./real.js";

describe("options of QEMU's command line", () => {
  it("have values with doubled commas, flags, and a first part without a key", () => {
    expect([...parseOptions("pc,accel=kvm,name=a,,b,usb", "type")]).toEqual([
      ["type", "pc"],
      ["accel", "kvm"],
      ["name", "a,b"],
      ["usb", "on"],
    ]);
  });

  it("may be JSON, as libvirt writes them", () => {
    const text = '{"qom-type":"memory-backend-ram","size":1024,"share":true,"addr":{"data":{"path":"/x"}}}';
    expect([...parseOptions(text, "qom-type")]).toEqual([
      ["qom-type", "memory-backend-ram"],
      ["size", "1024"],
      ["share", "on"],
      ["addr.data.path", "/x"],
    ]);
  });

  it("come back whatever values they hold", () => {
    const value = fc.string({ minLength: 1 });
    const key = fc.stringMatching(/^[a-z][a-z-]{0,8}$/);
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name }), (pairs) => {
        const text = pairs.map(([name, of]) => `${name}=${of.replaceAll(",", ",,")}`).join(",");
        expect([...parseOptions(text, "first")]).toEqual(pairs);
      }),
    );
  });

  it("are taken for nothing where they are hostile", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseOptions(text, "first");
        parseOptions(`{${text}`, "first");
      }),
    );
    expect(parseOptions("{".repeat(100_000), "first").size).toBe(0);
    expect(parseOptions("a,".repeat(1_000_000), "first").size).toBe(0);
  });

  it.each([
    ["4G", 2 ** 32],
    ["1.5G", 1.5 * 2 ** 30],
    ["262144k", 2 ** 28],
    ["0x1000", 2 ** 32],
    ["64", 64 * 2 ** 20],
    ["9e99", undefined],
    ["999999P", undefined],
    ["-1", undefined],
    ["", undefined],
  ])("a size of %s for -m", (text, bytes) => {
    expect(parseSize(text, 2 ** 20)).toBe(bytes);
  });
});

describe("a command line", () => {
  it("names its program, also with a path, a version or the distribution's name for it", () => {
    for (const name of [
      "qemu-system-x86_64",
      "/usr/bin/qemu-system-aarch64",
      "/usr/libexec/qemu-kvm",
      "/usr/bin/kvm",
    ]) {
      expect(isQemuProgram(name), name).toBe(true);
    }
    for (const name of ["bash", "qemu-img", "/usr/bin/qemu-nbd", "qemu-system-", "vim qemu-system-x86_64"]) {
      expect(isQemuProgram(name), name).toBe(false);
    }
  });

  it("tells the guest's name, machine, RAM and monitor", () => {
    const line = parseCommandLine(real("pc").arguments);
    expect(line).toMatchObject({ name: "vm,1", machine: "pc", ram: 64 * 2 ** 20, system: "x86_64" });
    expect(line.monitors).toEqual([{ path: "/run/vm/qmp" }]);
    expect(parseCommandLine(real("q35 as libvirt starts it").arguments)).toMatchObject({
      name: "deb12",
      machine: "pc-q35-7.2",
      ram: 2 ** 28,
    });
  });

  it.each([
    ["-qmp unix:/run/a,server=on,wait=off", { path: "/run/a" }],
    ["-qmp tcp::4444,server", { host: "localhost", port: 4444 }],
    ["-qmp tcp:[::1]:4444,server=on", { host: "::1", port: 4444 }],
    ["-chardev socket,id=m,path=/run/b,server=on -mon chardev=m,mode=control", { path: "/run/b" }],
    [
      "-mon chardev=m,mode=control -chardev socket,id=m,host=10.0.0.1,port=7,server=on",
      { host: "10.0.0.1", port: 7 },
    ],
  ])("has a monitor that speaks QMP: %s", (text, address) => {
    expect(parseCommandLine(["qemu-system-x86_64", ...text.split(" ")]).monitors).toEqual([address]);
  });

  it.each([
    "-monitor unix:/run/a,server=on",
    "-qmp stdio",
    "-chardev socket,id=m,fd=31,server=on -mon chardev=m,mode=control",
    "-chardev socket,id=m,path=/run/b,server=on -mon chardev=m,mode=readline",
    "-chardev socket,id=m,path=/run/b -mon chardev=m,mode=control",
  ])("has none to connect to: %s", (text) => {
    expect(parseCommandLine(["qemu-system-x86_64", ...text.split(" ")]).monitors).toEqual([]);
  });

  it("tells every backend and device of real machines", () => {
    for (const name of REAL_MACHINES) {
      const machine = real(name);
      const line = parseCommandLine(machine.arguments);
      for (const backend of line.backends.values()) {
        expect(machine.backends, name).toContainEqual({ id: backend.id, size: backend.size });
      }
      expect(line.devices.length, name).toBe(machine.devices.length);
    }
  });

  it("may hold anything", () => {
    const option = fc.constantFrom(
      "-m",
      "-object",
      "-numa",
      "-device",
      "-chardev",
      "-mon",
      "-qmp",
      "-name",
      "-machine",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(option, fc.string())), (args) => {
        parseCommandLine(args);
      }),
    );
  });
});
