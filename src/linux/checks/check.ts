/** What a check of a kernel is, and what it finds. The checks themselves are the files beside; `checks.ts` lists them. */
import type { Routine, Sink } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import type { CodeOwner, CodeOwners } from "../modules/code-owner.js";
import type { DamageOptions, OnDamage } from "../objects/damage.js";
import { damage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { needStruct } from "../objects/record.js";
import { stripped } from "../types/c-type.js";

/**
 * How much a finding says. `alert`: what no sound kernel has. `notice`: what has honest uses too, such as a module's own hook.
 */
export type CheckSeverity = "alert" | "notice";

/** Something that was examined, and whether anything speaks against it. */
export interface Checked {
  /** Name of the check. */
  readonly check: string;
  /** null for what is as it should be: given only with `all`. */
  readonly severity: CheckSeverity | null;
  /** What it is: `sys_call_table[59]`. */
  readonly what: string;
  /** Virtual address of what was examined: of the pointer, of the structure. */
  readonly address: bigint;
  /** What should be there, where that is known. */
  readonly expected: string | null;
  /** What is there, if it is a pointer; null for anything else. */
  readonly found: bigint | null;
  /** Whose code `found` is: a module's name, "bpf", null for the kernel's own; `undefined` for nobody's, or if it is no code. */
  readonly owner: string | null | undefined;
  /** The symbol at `found`, with an offset if it does not begin there; null if none is near. */
  readonly symbol: string | null;
  /** What speaks against it, a sentence for each; "" if nothing does. */
  readonly evidence: string;
}

/** What a check looked at, or could not look at. */
export interface CheckNote {
  readonly check: string;
  /** Whether it could be told; if not, `text` says why. */
  readonly told: boolean;
  readonly text: string;
}

/** Options of {@link listChecked}. */
export interface CheckOptions extends DamageOptions {
  /** Everything that was examined, not only what something speaks against; default false. */
  readonly all?: boolean | undefined;
  /** Is told what each check has looked at, and what it could not look at. */
  readonly onNote?: ((note: CheckNote) => void) | undefined;
}

/** A check. */
export interface Check {
  readonly name: string;
  /** Other names that it goes by. */
  readonly also?: readonly string[];
  readonly description: string;
  /** @throws {MemtoolError} if nothing can be told: the caller makes a note of it. @internal */
  run(examination: Examination): Routine<void>;
}

/** What a check says of one thing. @internal */
export interface Seen {
  readonly what: string;
  readonly address: bigint;
  readonly expected?: string | undefined;
  readonly found?: bigint | undefined;
  readonly severity?: CheckSeverity | undefined;
  readonly evidence?: readonly string[];
}

/** What is known of a pointer to code. @internal */
export interface Code {
  readonly owner: string | null | undefined;
  readonly symbol: string | null;
  /** Whether a symbol begins there. */
  readonly exact: boolean;
  /** What speaks against it. */
  readonly evidence: readonly string[];
  /** Whether that may be only because not all modules are known: their list could not be read whole. */
  readonly isDoubtful: boolean;
}

/** A check under way: what it asks of the kernel, and whom it tells. @internal */
export class Examination {
  readonly data: KernelData;
  readonly owners: CodeOwners;
  readonly report: OnDamage;
  /** Things that could not be read until now. */
  damaged = 0;
  /** Things that were examined. */
  count = 0;
  readonly #check: string;
  readonly #sink: Sink<Checked>;
  readonly #options: CheckOptions;
  readonly #knowsModules: boolean;
  #imageEnd: bigint | undefined;

  constructor(
    check: string,
    data: KernelData,
    owners: CodeOwners,
    sink: Sink<Checked>,
    report: OnDamage,
    options: CheckOptions,
    knowsModules: boolean,
  ) {
    this.#check = check;
    this.#knowsModules = knowsModules;
    this.data = data;
    this.owners = owners;
    this.report = (found) => {
      this.damaged++;
      report(found);
    };
    this.#sink = sink;
    this.#options = options;
  }

  /** Says what was looked at. */
  examined(text: string): void {
    this.#options.onNote?.({ check: this.#check, told: true, text });
  }

  /** Says what could not be looked at, and why. */
  untold(text: string): void {
    this.#options.onNote?.({ check: this.#check, told: false, text });
  }

  /** Gives one thing, if anything speaks against it or all are wanted. */
  *see(seen: Seen, code?: Code): Routine<void> {
    this.count++;
    const { evidence = [] } = seen;
    const isDoubtful = code?.isDoubtful === true && evidence.length === code.evidence.length;
    const severity = seen.severity ?? (isDoubtful ? "notice" : "alert");
    if (evidence.length === 0 && this.#options.all !== true) return;
    yield this.#sink.emit({
      check: this.#check,
      severity: evidence.length === 0 ? null : severity,
      what: seen.what,
      address: seen.address,
      expected: seen.expected ?? null,
      found: seen.found ?? null,
      owner: code?.owner,
      symbol: code?.symbol ?? null,
      evidence: evidence.join("; "),
    });
  }

  /** Whose code a pointer leads to, and whether a function begins there. */
  *code(address: bigint): Routine<Code> {
    const owner = yield* this.owners.of(address);
    const named = yield* this.data.kernel.nameOf(address);
    const exact = named?.offset === 0n;
    const symbol =
      named === undefined ? null : exact ? named.name : `${named.name}+0x${named.offset.toString(16)}`;
    const evidence: string[] = [];
    const isDoubtful = owner === undefined && !this.#knowsModules;
    if (owner === undefined) {
      const whole = isDoubtful ? ", as far as the list of modules can be read" : "";
      evidence.push(`it is in no code of the kernel, of a listed module or of BPF${whole}`);
    } else if (owner !== "bpf" && named !== undefined && !exact) {
      evidence.push("no function begins there");
    }
    return { owner, symbol, exact, evidence, isDoubtful };
  }

  /** Examines a pointer to a function. A null pointer is none. @param home Whose code it should be, if that is known. */
  *function(
    what: string,
    address: bigint,
    found: bigint,
    { home, expected, more = [] }: { home?: CodeOwner; expected?: string; more?: readonly string[] } = {},
  ): Routine<void> {
    if (found === 0n) return;
    const code = yield* this.code(found);
    const evidence = [...code.evidence, ...more];
    if (code.owner !== undefined && home !== undefined && code.owner !== home) {
      evidence.push(`it is ${ownerName(code.owner)}'s code, in what is ${ownerName(home)}'s`);
    }
    const bare = code.symbol?.replace(/\..*$/, "");
    if (expected !== undefined && code.exact && bare !== expected) evidence.push(`it is not ${expected}`);
    yield* this.see({ what, address, found, expected, evidence }, code);
  }

  /**
   * Examines every pointer to a function in a structure of operations. What the kernel's own image or a module has, leads to code of
   * the same, or from a module to the kernel's.
   *
   * @param expected By the member's name.
   */
  *operations(
    what: string,
    struct: string,
    address: bigint,
    expected: Readonly<Record<string, string>> = {},
  ): Routine<void> {
    const type = needStruct(this.data.types, struct);
    const { bytes, holes } = yield* this.data.memory.readPartial(address, type.size);
    const home = yield* this.homeOf(address);
    for (const member of type.members) {
      const pointer = stripped(member.type);
      if (pointer.kind !== "pointer" || stripped(pointer.target).kind !== "function") continue;
      const at = member.bitOffset / 8;
      const hole = holes.find(({ start, end }) => start < at + pointer.size && end > at);
      if (hole !== undefined) {
        this.report(damage(`${what}.${member.name}`, address + BigInt(at), "unreadable", hole.fault));
        continue;
      }
      const [found = 0n] = pointersIn(this.data.memory, bytes.subarray(at, at + pointer.size));
      const wanted = Object.hasOwn(expected, member.name) ? expected[member.name] : undefined;
      // (Modules use the kernel's own functions: only the kernel's structures say whose they must be.)
      yield* this.function(`${what}.${member.name}`, address + BigInt(at), found, {
        ...(home === null ? { home } : {}),
        ...(wanted === undefined ? {} : { expected: wanted }),
      });
    }
  }

  /** Whose data an address is: null for the kernel's image, a module's name, `undefined` for memory that was asked for. */
  *homeOf(address: bigint): Routine<CodeOwner> {
    const owner = yield* this.owners.of(address);
    if (owner !== undefined) return owner;
    const start = yield* symbolAddress(this.data, "_stext");
    this.#imageEnd ??= yield* symbolAddress(this.data, "_end", "__bss_stop");
    const end = this.#imageEnd;
    return start !== undefined && end !== undefined && address >= start && address < end ? null : undefined;
  }
}

/** For sentences. @internal */
export function ownerName(owner: CodeOwner): string {
  if (owner === undefined) return "nobody";
  return owner === null ? "the kernel" : owner === "bpf" ? "BPF" : `module ${owner}`;
}
