/** The connectors that memtool has of its own, by name, in the order in which they are listed. */
import type { Connector } from "./connector.js";
import { openFile } from "./file.js";
import { openGdbTarget } from "./gdb/gdb-target.js";
import { OWN_OPTIONS } from "./leechcore/own-options.js";
import { mapFile } from "./mapped-file.js";
import { NET } from "./net/connector.js";
import { openProcess } from "./proc/open-process.js";
import { openQemu } from "./qemu/qemu.js";

export const BUILT_IN: Readonly<Record<string, Connector>> = {
  file: {
    kind: "file",
    about: "a dump or memory image; its format is detected by its content",
    // `map` with ranges says where a raw image's bytes belong: that is for what is above the source (`open`).
    options: { write: "boolean", map: "boolean or ranges" },
    open: (target, options) =>
      (options.map === true ? mapFile : openFile)(target, { write: options.write === true }),
  },
  proc: {
    kind: "virtual",
    about: "the memory of a running process, by its number or name",
    options: { write: "boolean" },
    open: (target, options) => openProcess(target, { write: options.write === true }),
  },
  leechcore: {
    kind: "physical",
    about: "PCILeech hardware, and what else LeechCore opens, through its library",
    options: OWN_OPTIONS,
    otherOptions: "string",
    open: async (target, options) => {
      const { openLeechCoreTarget } = await import("./leechcore/connector.js");
      return openLeechCoreTarget(target, options);
    },
  },
  qemu: {
    kind: "physical",
    about: "a guest that QEMU runs here, by its name, the number of its process or its QMP socket",
    options: { write: "boolean", freeze: "boolean", qmp: "string", map: "string" },
    open: (target, { write, freeze, qmp, map }) =>
      openQemu(target, {
        write: write === true,
        freeze: freeze === true,
        qmp: qmp as string | undefined,
        map: map as string | undefined,
      }),
  },
  gdb: {
    kind: "physical",
    about: "a machine through a stub of GDB's remote protocol: QEMU's, kgdb, OpenOCD, VMware's",
    options: {
      write: "boolean",
      memory: "string",
      map: "string",
      resume: "boolean",
      freeze: "boolean",
      worker: "boolean",
      inflight: "number",
      timeout: "duration",
    },
    open: (target, { worker, ...options }) => openGdbTarget(target, options, worker === true),
  },
  kcore: {
    kind: "physical",
    about: "the memory of the machine that memtool runs on (/proc/kcore, or a copy of it)",
    open: async (target) => (await import("./kcore/open-kcore.js")).openKcore(target),
  },
  devmem: {
    kind: "physical",
    about: "the same through /dev/mem, where the kernel allows it",
    options: { write: "boolean", iomem: "string" },
    open: async (target, { write, iomem }) =>
      (await import("./devmem/open-devmem.js")).openDevmem(target, {
        write: write === true,
        iomem: typeof iomem === "string" ? iomem : undefined,
      }),
  },
  net: NET,
};
