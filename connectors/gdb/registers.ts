/** Registers of a machine's processors, through its stub; a processor is a thread to it. */
import type { Architecture, CpuState, DumpNotes } from "../../src/formats/index.js";
import type { GdbConnection } from "./connection.js";
import { decodeHex, textOf } from "./packets.js";
import type { DescribedRegister, TargetDescription } from "./target-description.js";

/** Processors that are asked at most. */
const MAX_CPUS = 4096;
/** Registers that paging and stacks are found by; the others that a description has (vectors, debug) are left out. */
const GENERAL =
  /^(?:[re](?:ax|bx|cx|dx|si|di|bp|sp|ip|flags)|r\d{1,2}|[cdefgs]s|[fg]s_base|k_gs_base|cr[02348]|efer|x\d{1,2}|sp|pc|cpsr|lr|zero|ra|gp|tp|[ast]\d{1,2}|fp|satp|sctlr(?:_el1)?|ttbr[01]_el1|tcr_el1|psw[am]|prefix|msr|nip|ctr)$/;

/** What our own names are for those of descriptions. */
const NAMES: Readonly<Record<string, string>> = {
  k_gs_base: "kernel_gs_base",
  sctlr: "sctlr_el1",
  pswm: "psw_mask",
  pswa: "psw_addr",
};

/** All processors' registers; none where the stub describes none. */
export async function readNotes(
  connection: GdbConnection,
  description: TargetDescription,
): Promise<DumpNotes> {
  // (Of a name that is there again and again, the first.)
  const known = new Map(
    description.registers.map((each) => [each.name.toLowerCase(), each] as const).reverse(),
  );
  const wanted = description.registers.filter((each) => {
    const name = each.name.toLowerCase();
    return each.bits <= 64 && GENERAL.test(name) && known.get(name) === each;
  });
  const cpus: CpuState[] = [];
  if (wanted.length > 0) {
    const threads = await listThreads(connection);
    for (const [i, thread] of threads.entries()) {
      if ((await connection.askText(`Hg${thread}`)) !== "OK") continue;
      const registers = await readRegisters(connection, description, wanted);
      if (Object.keys(registers).length > 0) cpus.push({ pid: i, registers });
    }
  }
  const architecture = systemOf(description.architecture, cpus);
  return { cpus, ...(architecture === undefined ? {} : { architecture }) };
}

/** Names of threads, as the stub writes them. */
async function listThreads(connection: GdbConnection): Promise<string[]> {
  const threads = new Set<string>();
  for (let ask = "qfThreadInfo"; threads.size < MAX_CPUS; ask = "qsThreadInfo") {
    const answer = await connection.askText(ask);
    if (!answer.startsWith("m")) break;
    const more = answer
      .slice(1)
      .split(",")
      .filter((name) => /^[p0-9a-f.]+$/.test(name));
    const before = threads.size;
    for (const name of more) threads.add(name);
    // (One that names the same ones again would do so for ever.)
    if (threads.size === before) break;
  }
  // (A stub without threads: the one processor that it is.)
  return threads.size === 0 ? ["0"] : [...threads].slice(0, MAX_CPUS);
}

async function readRegisters(
  connection: GdbConnection,
  { architecture, registers: all }: TargetDescription,
  wanted: readonly DescribedRegister[],
): Promise<Record<string, bigint>> {
  const big = architecture === "s390x" || architecture === "ppc64";
  const found: Record<string, bigint> = {};
  const add = ({ name }: DescribedRegister, value: bigint | undefined) => {
    if (value !== undefined) found[ownName(name.toLowerCase(), architecture)] = value;
  };
  // One packet has those that processors always had; the others are asked for by number.
  const general = textOf(await connection.ask("g"));
  const given = new Set<DescribedRegister>();
  let at = 0;
  for (const register of all) {
    const digits = general.slice(at, at + register.bits / 4);
    at += register.bits / 4;
    // (It ends where a register has another number than its place.)
    if (digits.length < register.bits / 4 || all[register.number] !== register) break;
    given.add(register);
    if (wanted.includes(register)) add(register, parseValue(digits, big));
  }
  const others = wanted.filter((register) => !given.has(register));
  const answers = await Promise.all(
    others.map(({ number }) => connection.askText(`p${number.toString(16)}`)),
  );
  for (const [i, register] of others.entries()) {
    const digits = answers[i] as string;
    if (digits.length === register.bits / 4) add(register, parseValue(digits, big));
  }
  return found;
}

function ownName(name: string, architecture: Architecture | undefined): string {
  if (name === "eflags" && architecture === "x86_64") return "rflags";
  if (name === "cpsr" && architecture === "aarch64") return "pstate";
  return NAMES[name] ?? name;
}

/** Digits in the machine's byte order; `undefined` for a register that the stub does not know (`xxxx`). */
function parseValue(digits: string, big: boolean): bigint | undefined {
  const bytes = new Uint8Array(digits.length / 2);
  if (
    bytes.length === 0 ||
    decodeHex(
      Uint8Array.from(digits, (c) => c.charCodeAt(0)),
      bytes,
    ) < bytes.length
  ) {
    return undefined;
  }
  let value = 0n;
  for (const byte of big ? bytes : bytes.reverse()) value = (value << 8n) | BigInt(byte);
  return value;
}

const PAGING = 1n << 31n;
const EFER_LMA = 1n << 10n;

/** An x86-64 machine may run a system of 32 bits; before paging is on nobody knows. */
function systemOf(
  architecture: Architecture | undefined,
  cpus: readonly CpuState[],
): Architecture | undefined {
  if (architecture !== "x86_64") return architecture;
  const paging = cpus.filter(
    ({ registers }) => registers.cr0 === undefined || (registers.cr0 & PAGING) !== 0n,
  );
  if (paging.length === 0) return undefined;
  const isLong = ({ registers: { efer } }: CpuState) => efer === undefined || (efer & EFER_LMA) !== 0n;
  return paging.some(isLong) ? "x86_64" : "i386";
}
