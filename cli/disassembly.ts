/** Machine code as text, by the package Capstone where that is installed. */
import { type Capstone, loadCapstone } from "./packages.js";

/** One instruction. */
export interface Instruction {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** Which code it is: the kernel's architecture, and how wide the program's addresses are. */
export interface CodeKind {
  readonly architecture: string;
  readonly bits: 32 | 64;
}

/** Turns code into text. */
export class Disassembler {
  readonly #capstone: Capstone;

  private constructor(capstone: Capstone) {
    this.#capstone = capstone;
  }

  /** @throws {MemtoolError} `NO_PACKAGE`. */
  static async load(): Promise<Disassembler> {
    return new Disassembler(await loadCapstone());
  }

  /** The instructions from the first byte on, up to what is none; an instruction that is cut is left out. */
  disassemble(bytes: Uint8Array, address: bigint, kind: CodeKind): Instruction[] {
    const chosen = modeOf(kind);
    if (chosen === undefined || bytes.length === 0) return [];
    const number = (name: string) => this.#capstone[name] as number;
    const [architecture, modes] = chosen;
    const mode = modes.reduce((sum, name) => sum | number(name), 0);
    const engine = new this.#capstone.Capstone(number(architecture), mode);
    try {
      return engine.disasm(bytes, address).map((each) => {
        const at = BigInt.asUintN(64, BigInt(each.address));
        const from = Number(at - address);
        const text = each.op_str === "" ? each.mnemonic : `${each.mnemonic} ${each.op_str}`;
        return { address: at, bytes: bytes.slice(from, from + each.size), text };
      });
    } catch {
      // (It throws where the first bytes are no instruction.)
      return [];
    } finally {
      engine.close();
    }
  }
}

/** Names of Capstone's constants. */
function modeOf({ architecture, bits }: CodeKind): readonly [string, readonly string[]] | undefined {
  switch (architecture) {
    case "x86_64":
    case "i386":
      return ["ARCH_X86", [bits === 32 ? "MODE_32" : "MODE_64"]];
    case "aarch64":
      return bits === 32 ? ["ARCH_ARM", ["MODE_ARM"]] : ["ARCH_ARM64", ["MODE_LITTLE_ENDIAN"]];
    case "riscv64":
      return ["ARCH_RISCV", ["MODE_RISCV64", "MODE_RISCVC"]];
    default:
      return undefined;
  }
}
