/** The connectors that memtool has of its own, by name, in the order in which they are listed. */
import type { Connector } from "./connector.js";
import { openFile } from "./file.js";
import { mapFile } from "./mapped-file.js";
import { NET } from "./net/connector.js";
import { openProcess } from "./proc-mem.js";

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
    about: "the memory of a running process, by its number",
    options: { write: "boolean" },
    open: (target, options) => openProcess(target, { write: options.write === true }),
  },
  net: NET,
};
