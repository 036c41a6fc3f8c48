/** A stub's description of its machine (GDB manual, appendix G): architecture, and registers with their numbers and sizes. */
import type { Architecture } from "../../src/formats/index.js";
import { attributeOf, tagsOf, type XmlTag } from "./xml-tags.js";

/** A register as the stub numbers it. */
export interface DescribedRegister {
  readonly name: string;
  readonly number: number;
  readonly bits: number;
}

/** See the module's comment. */
export interface TargetDescription {
  readonly architecture: Architecture | undefined;
  /** In the order of the description, which is that of the packet `g`. */
  readonly registers: readonly DescribedRegister[];
}

/** More than any machine has. */
const MAX_REGISTERS = 20_000;
const MAX_FILES = 100;
/** Bits of a register at most (of the widest vectors). */
const MAX_BITS = 65_536;

/**
 * Reads a description.
 *
 * @param read Gives the text of one of its files; the first is `target.xml`. A file that includes itself is read once.
 */
export async function readDescription(read: (name: string) => Promise<string>): Promise<TargetDescription> {
  const seen = new Set<string>();
  let architecture: Architecture | undefined;
  const registers: DescribedRegister[] = [];
  let number = 0;
  const add = (tag: XmlTag) => {
    const name = attributeOf(tag, "name");
    const bits = Number(attributeOf(tag, "bitsize"));
    const given = attributeOf(tag, "regnum");
    if (given !== undefined && /^\d{1,9}$/.test(given)) number = Number(given);
    if (name !== undefined && bits > 0 && bits <= MAX_BITS && registers.length < MAX_REGISTERS) {
      registers.push({ name, number, bits });
    }
    number++;
  };
  const walk = async (name: string): Promise<void> => {
    if (seen.has(name) || seen.size >= MAX_FILES) return;
    seen.add(name);
    for (const tag of tagsOf(await read(name))) {
      if (tag.name === "architecture") architecture ??= architectureOf(tag.content.trim());
      else if (tag.name === "xi:include") {
        const href = attributeOf(tag, "href");
        if (href !== undefined) await walk(href);
      } else if (tag.name === "reg") add(tag);
    }
  };
  await walk("target.xml");
  return { architecture, registers };
}

/** As GDB calls it (bfd's names). */
function architectureOf(name: string): Architecture | undefined {
  switch (name) {
    case "i386:x86-64":
    case "i386:x64-32":
      return "x86_64";
    case "i386":
      return "i386";
    case "aarch64":
      return "aarch64";
    case "riscv:rv64":
      return "riscv64";
    case "powerpc:common64":
      return "ppc64";
    case "s390:64-bit":
      return "s390x";
    default:
      return name.startsWith("arm") ? "arm" : undefined;
  }
}
