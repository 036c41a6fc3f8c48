import { listVmas, type Vma } from "../../src/linux/index.js";
import { hex } from "../render/numbers.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Vma>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: ({ pid }) => pid },
  { field: "comm", title: "NAME", value: ({ comm }) => comm },
  {
    field: "start",
    type: "address",
    title: "START",
    right: true,
    value: ({ start }) => start,
    cell: ({ start }) => digits(start),
  },
  {
    field: "end",
    type: "address",
    title: "END",
    right: true,
    value: ({ end }) => end,
    cell: ({ end }) => digits(end),
  },
  { field: "rights", title: "RIGHTS", value: ({ rights }) => rights },
  { field: "offset", type: "address", title: "OFFSET", right: true, value: ({ offset }) => offset },
  { field: "resident", type: "integer", title: "RESIDENT", right: true, value: ({ resident }) => resident },
  { field: "swapped", type: "integer", title: "SWAPPED", right: true, value: ({ swapped }) => swapped },
  { field: "absent", type: "integer", title: "ABSENT", right: true, value: ({ absent }) => absent },
  { field: "unknown", type: "integer", value: ({ unknown }) => unknown },
  { field: "device", value: ({ device }) => device },
  {
    field: "inode",
    type: "unsigned",
    value: ({ inode }) => (inode !== undefined && inode < 2n ** 53n ? Number(inode) : inode),
  },
  { field: "path", title: "PATH", value: ({ path }) => path },
  { field: "flags", type: "address", value: ({ flags }) => flags },
  { field: "vma", type: "address", value: ({ address }) => address },
];

/** `memtool vmas`. */
export const VMAS: KernelCommand = {
  name: "vmas",
  description:
    "mapped ranges of processes, as /proc/PID/maps has them, and how many of their pages are in RAM, swapped out, or not there",
  examples: ["vmas --pid 98"],
  ofProcess: true,
  async run({ session, kernel, pid }) {
    const damage = new DamageSummary();
    // What entries of swapped pages look like, the kernel's symbols tell.
    await session.machine.swapTypes();
    const none =
      pid === undefined ? "no process has memory" : `process ${pid} has no memory, or there is none`;
    return await showList(session, listVmas(kernel, { pid, onDamage: damage.add }), COLUMNS, damage, none);
  },
};

function digits(address: bigint): string {
  return hex(address).slice(2);
}
