import { type BpfItem, listBpf } from "../../src/linux/index.js";
import type { KernelCommand, KernelContext } from "./command.js";
import { DamageSummary, type ListColumn, type ListValue, showList } from "./listing.js";

/** A field that only some kinds have: null for the others. */
function only<K extends BpfItem["kind"]>(
  kind: K,
  value: (item: Extract<BpfItem, { kind: K }>) => ListValue,
): (item: BpfItem) => ListValue {
  return (item) => (item.kind === kind ? value(item as Extract<BpfItem, { kind: K }>) : null);
}

const COLUMNS: readonly ListColumn<BpfItem>[] = [
  { field: "kind", title: "KIND", value: ({ kind }) => kind },
  { field: "id", type: "integer", title: "ID", right: true, value: ({ id }) => id },
  { field: "type", title: "TYPE", value: ({ type }) => type },
  { field: "name", title: "NAME", value: (item) => (item.kind === "link" ? null : item.name) },
  { field: "tag", title: "TAG", value: only("program", ({ tag }) => tag) },
  {
    field: "loaded",
    type: "number",
    title: "LOADED",
    right: true,
    value: only("program", ({ loaded }) => loaded),
    cell: (item) => (item.kind === "program" ? item.loaded?.toFixed(2) : ""),
  },
  { field: "uid", type: "integer", title: "UID", right: true, value: only("program", ({ uid }) => uid) },
  {
    field: "instructions",
    type: "integer",
    title: "INSNS",
    right: true,
    value: only("program", ({ instructions }) => instructions),
  },
  {
    field: "jited",
    type: "integer",
    title: "JITED",
    right: true,
    value: only("program", ({ jited }) => jited),
  },
  { field: "image", type: "address", title: "IMAGE", value: only("program", ({ image }) => image) },
  { field: "maps", type: "json", title: "MAPS", value: only("program", ({ maps }) => maps) },
  { field: "attachType", value: only("program", ({ attachType }) => attachType ?? null) },
  { field: "attachedTo", value: only("program", ({ attachedTo }) => attachedTo ?? null) },
  {
    field: "keySize",
    type: "integer",
    title: "KEY",
    right: true,
    value: only("map", ({ keySize }) => keySize),
  },
  {
    field: "valueSize",
    type: "integer",
    title: "VALUE",
    right: true,
    value: only("map", ({ valueSize }) => valueSize),
  },
  {
    field: "maxEntries",
    type: "integer",
    title: "ENTRIES",
    right: true,
    value: only("map", ({ maxEntries }) => maxEntries),
  },
  {
    field: "flags",
    type: "integer",
    title: "FLAGS",
    value: only("map", ({ flags }) => flags),
    cell: flagsText,
  },
  {
    field: "program",
    type: "integer",
    title: "PROGRAM",
    right: true,
    value: only("link", ({ program }) => program),
  },
  { field: "address", type: "address", value: ({ address }) => address },
];

/** `memtool ebpf`. */
export const EBPF: KernelCommand = {
  name: "ebpf",
  description: "BPF's programs, maps and links",
  examples: ["ebpf", "ebpf --json"],
  run: ebpf,
};

async function ebpf({ session, kernel }: KernelContext): Promise<number> {
  const damage = new DamageSummary();
  const list = listBpf(kernel, { onDamage: damage.add });
  return await showList(session, list, COLUMNS, damage, "no BPF programs, maps or links");
}

function flagsText(item: BpfItem): string | undefined {
  if (item.kind !== "map") return "";
  return item.flags === undefined ? undefined : `0x${item.flags.toString(16)}`;
}
