import {
  type CType,
  printType,
  type StructType,
  sizeOf,
  stripped,
  TypesError,
  type TypeTable,
  typeName,
  typeNamed,
} from "../../src/linux/index.js";
import { isGlob, matchesGlob } from "../../src/linux/names.js";
import { statusOf } from "../errors.js";
import { escapeText, toJson } from "../render/escape.js";
import type { Session } from "../session.js";
import type { KernelCommand } from "./command.js";

/** Members of a type in JSON; damaged types may hold one another many times over. */
const MAX_MEMBERS = 65_536;
const MAX_DEPTH = 16;

/** `memtool types`. */
export const TYPES: KernelCommand = {
  name: "types",
  description:
    "the kernel's types, as C defines them with offsets; or their names, of a pattern (*, ?, [a-z])",
  arguments: [["[name...]", 'such as task_struct, "struct file", or patterns (default: the names of all)']],
  isNoList: true,
  examples: ["types list_head 'tcp_*sock'"],
  async run({ session, kernel, args }) {
    const table = await kernel.types();
    let good = false;
    let bad = false;
    for (const name of args.length === 0 ? ["*"] : args) {
      try {
        if (isPattern(name)) await list(session, table, name);
        else show(session, typeNamed(table, name));
        good = true;
      } catch (error) {
        if (!(error instanceof TypesError)) throw error;
        bad = true;
        session.report(error);
      }
      await session.out.settle();
    }
    return statusOf(good, bad);
  },
};

/** Whether it is a pattern of names, and no type such as `struct file *` or `char[16]`. */
function isPattern(name: string): boolean {
  return isGlob(name) && !/\s\*+$|\[\d*\]$/.test(name);
}

/** Names that match, with kind and size. */
async function list(session: Session, table: TypeTable, pattern: string): Promise<void> {
  const { out, options } = session;
  let found = false;
  for (const { kind, name, type } of table.all()) {
    if (!matchesGlob(pattern, name) || type.kind === "forward") continue;
    found = true;
    const shown = kind === "name" ? type.kind : kind;
    const size = sizeOf(type);
    out.text(
      options.json === true
        ? `${toJson({ kind: shown, name, size })}\n`
        : `${shown.padEnd(7)} ${`0x${size.toString(16)}`.padStart(8)}  ${escapeText(name)}\n`,
    );
    await out.settle();
  }
  if (!found) throw new TypesError("NO_TYPE", pattern, `no type of ${table.name} matches "${pattern}"`);
}

function show({ out, options }: Session, type: CType): void {
  if (options.json === true) {
    out.text(`${toJson(typeJson(type))}\n`);
    return;
  }
  for (const line of printType(type).split("\n")) {
    // Tabs are ours; all else that is no text is the target's.
    const tabs = /^\t*/.exec(line)?.[0] ?? "";
    out.text(`${tabs.replaceAll("\t", "    ")}${escapeText(line.slice(tabs.length))}\n`);
  }
}

interface MemberJson {
  readonly name: string;
  readonly offset: number;
  /** Of a bit-field: its first bit in the byte at `offset`. */
  readonly bit?: number;
  readonly bits?: number;
  readonly size: number;
  readonly type: string;
}

function typeJson(type: CType): Record<string, unknown> {
  const inner = stripped(type);
  const json = { name: typeName(type), kind: type.kind, size: sizeOf(type) };
  if (inner.kind === "struct" || inner.kind === "union") {
    const members: MemberJson[] = [];
    addMembers(inner, 0, members, 0, { left: MAX_MEMBERS });
    return { ...json, members };
  }
  if (inner.kind === "enum") {
    // Numbers where JSON's readers hold them.
    const constants = inner.enumerators.map(({ name, value }) => ({
      name,
      value: Number.isSafeInteger(Number(value)) ? Number(value) : String(value),
    }));
    return { ...json, constants };
  }
  return type.kind === "typedef" ? { ...json, target: typeName(type.target) } : json;
}

/** Members, those of members without a name among them: C knows them as the outer type's own. */
function addMembers(
  type: StructType,
  base: number,
  members: MemberJson[],
  depth: number,
  visits: { left: number },
): void {
  for (const { name, bitOffset, bitSize, type: of } of type.members) {
    if (visits.left-- <= 0) return;
    const at = base + bitOffset;
    const inner = stripped(of);
    if (name === "" && (inner.kind === "struct" || inner.kind === "union")) {
      if (depth < MAX_DEPTH) addMembers(inner, at, members, depth + 1, visits);
      continue;
    }
    members.push({
      name,
      offset: Math.floor(at / 8),
      ...(bitSize > 0 ? { bit: at % 8, bits: bitSize } : {}),
      size: sizeOf(of),
      type: typeName(of),
    });
  }
}
