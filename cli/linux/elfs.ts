import { type FoundElf, listElfs, listPhysicalElfs } from "../../src/linux/index.js";
import { UsageError } from "../errors.js";
import type { KernelCommand } from "./command.js";
import { extractElfs } from "./extract-elfs.js";
import { MAX_BYTES_OPTION, maxBytesOf } from "./extract-limit.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<FoundElf>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: ({ pid }) => pid ?? null },
  { field: "comm", title: "PROCESS", value: ({ comm }) => comm ?? null },
  { field: "start", type: "address", title: "START", right: true, value: ({ start }) => start },
  { field: "end", type: "address", title: "END", right: true, value: ({ end }) => end },
  { field: "kind", title: "TYPE", value: ({ kind }) => kind },
  { field: "machine", title: "MACHINE", value: ({ machine }) => machine, cell: machineText },
  { field: "bits", type: "integer", value: ({ bits }) => bits },
  { field: "littleEndian", type: "boolean", value: ({ littleEndian }) => littleEndian },
  { field: "layout", value: ({ layout }) => layout },
  { field: "buildId", title: "BUILD ID", value: ({ buildId }) => buildId ?? null },
  {
    field: "path",
    title: "PATH",
    value: ({ path }) => path ?? null,
    cell: ({ path, soname }) => path ?? soname ?? "",
  },
  { field: "soname", value: ({ soname }) => soname ?? null },
  { field: "interpreter", value: ({ interpreter }) => interpreter ?? null },
  { field: "needed", type: "json", value: ({ needed }) => needed },
  { field: "executable", value: ({ executable }) => executable ?? null },
  { field: "how", title: "FOUND", value: ({ how }) => how, cell: howText },
  { field: "base", type: "address", value: ({ base }) => base },
];

/** `memtool elfs`. */
export const ELFS: KernelCommand = {
  name: "elfs",
  description:
    "ELF programs and libraries in the memory of processes, also where no file is mapped; with --physical, headers in all of RAM",
  options: [
    [
      "--extract <directory>",
      "write each as a file, as far as it is there, and a manifest of what is missing",
    ],
    MAX_BYTES_OPTION,
  ],
  examples: ["elfs --pid 98", "elfs --physical"],
  ofProcess: true,
  check: (_args, options, { physical }) => {
    if (physical === true && options.extract !== undefined) {
      throw new UsageError(
        "elfs --physical: where the pages behind a header lie, physical memory does not tell: --extract is for processes",
      );
    }
    if (options.extract === "") throw new UsageError("elfs: --extract needs a directory");
    maxBytesOf(options);
  },
  async run({ session, kernel, pid, options }) {
    const damage = new DamageSummary();
    const directory = options.extract as string | undefined;
    if (session.options.physical === true) {
      const { physical } = session.machine;
      if (physical === undefined) throw new UsageError(`${session.machine.name} has no physical memory`);
      const ranges = [...physical.map.ranges()].filter(({ state }) => state === "present");
      const onProgress = (done: number, total: number) =>
        session.progress("looking for ELF headers", done, total);
      const found = listPhysicalElfs(physical, ranges, { onDamage: damage.add, onProgress });
      return await showList(session, found, COLUMNS, damage, "no page of RAM begins as an ELF file");
    }
    await session.machine.swapTypes();
    const found = listElfs(kernel, { pid, onDamage: damage.add });
    const none =
      pid === undefined
        ? "no process has an ELF image that is there"
        : `process ${pid} has no ELF image that is there`;
    if (directory === undefined) return await showList(session, found, COLUMNS, damage, none);
    const images: FoundElf[] = [];
    for await (const each of found) images.push(each);
    return await extractElfs(session, images, { directory, maxBytes: maxBytesOf(options) }, damage, none);
  },
};

function machineText({ machine, bits, littleEndian }: FoundElf): string {
  const usual =
    machine === "x86_64" || machine === "aarch64"
      ? 64
      : machine === "i386" || machine === "arm"
        ? 32
        : undefined;
  const width = bits === usual ? "" : ` ${bits}-bit`;
  return `${machine}${width}${littleEndian ? "" : " big-endian"}`;
}

function howText({ how, layout, executable }: FoundElf): string {
  const notes = [
    layout === "file" ? "as in its file" : "",
    executable === true && how !== "mapping" && how !== "special mapping" ? "executable" : "",
  ];
  const shown = notes.filter((each) => each !== "").join(", ");
  return shown === "" ? how : `${how} (${shown})`;
}
