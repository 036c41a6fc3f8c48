import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Io } from "../../../src/io/index.js";
import { readPatches } from "../../../src/linux/checks/patched-text.js";
import {
  type Checked,
  type CheckName,
  type CheckNote,
  listChecked,
  listModules,
  listTasks,
} from "../../../src/linux/index.js";
import { kernelData } from "../../../src/linux/kernel-data.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { presentText, registerKprobe } from "../../support/forged-kprobe.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";
/** In module space, where nothing is. */
const NOWHERE = 0xffff_ffff_fe00_1230n;

let patched: PatchedKernel;
beforeAll(async () => {
  patched = await PatchedKernel.open(FIXTURE);
});
afterEach(() => patched.restore());
afterAll(() => patched?.close());

async function run(name?: CheckName, all = false) {
  const found: Checked[] = [];
  const notes: CheckNote[] = [];
  const damage: string[] = [];
  const options = {
    all,
    onNote: (note: CheckNote) => notes.push(note),
    onDamage: ({ message }: { message: string }) => damage.push(message),
  };
  for await (const each of listChecked(patched.kernel, name, options)) found.push(each);
  return { found, notes, damage };
}
const address = async (name: string) => (await patched.kernel.symbol(name)).address;
const pointer = async (at: bigint) =>
  new DataView((await patched.kernel.memory.read(at, 8)).slice().buffer).getBigUint64(0, true);
const offset = async (struct: string, path: string) =>
  BigInt(offsetOf(await patched.kernel.types(), struct, path));

describe("a sound kernel", () => {
  test("has no findings, and each check says what it examined", async () => {
    const { found, notes, damage } = await run();
    expect(found).toEqual([]);
    expect(damage).toEqual([]);
    expect(new Set(notes.filter(({ told }) => told).map(({ check }) => check)).size).toBe(11);
  });

  test("with all, each of its system calls is listed", async () => {
    const { found } = await run("syscalls", true);
    expect(found.length).toBe(451);
    expect(found[1]).toMatchObject({
      what: "sys_call_table[1]",
      symbol: "__x64_sys_write",
      owner: null,
      severity: null,
    });
  });
});

describe("finds", () => {
  test("an entry of the system calls that leads nowhere", async () => {
    const at = (await address("sys_call_table")) + 59n * 8n;
    await patched.setPointer(at, NOWHERE);
    const { found } = await run("syscalls");
    expect(found).toMatchObject([
      { what: "sys_call_table[59]", address: at, found: NOWHERE, owner: undefined },
    ]);
  });

  test("an entry of the system calls that is another call's function", async () => {
    const at = await address("sys_call_table");
    await patched.setPointer(at + 62n * 8n, await pointer(at + 39n * 8n));
    const { found } = await run("syscalls");
    expect(found.map(({ what, evidence }) => [what, evidence])).toEqual([
      ["sys_call_table[62]", "number 39 has the same function"],
    ]);
  });

  test("an entry of the system calls that is no system call, and one within a function", async () => {
    const at = await address("sys_call_table");
    await patched.setPointer(at + 8n, await address("commit_creds"));
    await patched.setPointer(at + 16n, (await address("commit_creds")) + 5n);
    const { found } = await run("syscalls");
    expect(found.map(({ evidence }) => evidence)).toEqual([
      "no system call has such a name",
      "no function begins there",
    ]);
  });

  test("a gate that leads elsewhere", async () => {
    const at = (await address("idt_table")) + 14n * 16n;
    await patched.set(at + 6n, Uint8Array.of(0, 0xfe));
    const { found } = await run("idt");
    expect(found.map(({ what, expected }) => [what, expected])).toEqual([
      ["idt_table[14]", "asm_exc_page_fault"],
    ]);
  });

  test("a gate that programs may call", async () => {
    const at = (await address("idt_table")) + 14n * 16n;
    await patched.set(at + 5n, Uint8Array.of(0xee));
    const { found } = await run("idt");
    expect(found.map(({ evidence }) => evidence)).toEqual(["programs may call it (DPL 3)"]);
  });

  test("a module that took itself off the list", async () => {
    const [, hidden] = await listModules(patched.kernel).toArray();
    const module = hidden?.module as bigint;
    await unlink(module + (await offset("module", "list")));
    const { found, damage } = await run("modules");
    expect(damage).toEqual([]);
    expect(found.map(({ what, address: at }) => [what, at])).toEqual([[`module ${hidden?.name}`, module]]);
    expect(found[0]?.evidence).toMatch(
      /^not in the list of modules, but in the kobjects .* and memory of modules$/,
    );
  });

  test("a module that took itself off the list and off its kobject's", async () => {
    const [, hidden] = await listModules(patched.kernel).toArray();
    const module = hidden?.module as bigint;
    await unlink(module + (await offset("module", "list")));
    await unlink(module + (await offset("module", "mkobj.kobj.entry")));
    const { found } = await run("modules");
    expect(found.map(({ evidence }) => evidence)).toEqual([
      "not in the list of modules, nor in the kobjects (/sys/module), but in the tree of modules' memory and memory of modules",
    ]);
  });

  test("a process that has another's credentials", async () => {
    const tasks: { address: bigint; pid: number | undefined }[] = [];
    for await (const task of listTasks(patched.kernel)) tasks.push(task);
    const [one, other] = [tasks[0], tasks.at(-1)] as [(typeof tasks)[0], (typeof tasks)[0]];
    const place = await offset("task_struct", "real_cred");
    await patched.setPointer(other.address + place, await pointer(one.address + place));
    const { found } = await run("creds");
    expect(found.map(({ evidence }) => evidence)).toEqual([
      "2 processes share one struct cred, which no fork makes",
    ]);
  });

  test("a process that was given init_cred", async () => {
    const task = (await listTasks(patched.kernel).toArray()).at(-1);
    const place = await offset("task_struct", "real_cred");
    await patched.setPointer((task?.address as bigint) + place, await address("init_cred"));
    const { found } = await run("creds");
    expect(found.map(({ evidence }) => evidence)).toEqual(["it is init_cred, which only the first task has"]);
  });

  test("the function that shows TCP's connections replaced by a module's", async () => {
    const [module] = await listModules(patched.kernel).toArray();
    const [symbol] = (await patched.kernel.moduleSymbols()).all.filter(
      (each) => each.module === module?.name && each.type === "t",
    );
    await patched.setPointer((await address("tcp4_seq_ops")) + 24n, symbol?.address as bigint);
    const { found } = await run("afinfo");
    expect(found).toMatchObject([
      { what: "tcp4_seq_ops.show", expected: "tcp4_seq_show", owner: module?.name, severity: "alert" },
    ]);
  });

  test("a line discipline that hands what is typed to somebody else", async () => {
    const ops = await pointer(await address("tty_ldiscs"));
    await patched.setPointer(ops + (await offset("tty_ldisc_ops", "receive_buf2")), NOWHERE);
    const { found } = await run("tty");
    expect(found.map(({ what, found: at }) => [what, at])).toEqual([["tty_ldiscs[0].receive_buf2", NOWHERE]]);
  });

  test("an ftrace_ops whose function is nobody's", async () => {
    const spare = await address("__log_buf");
    await patched.set(spare, new Uint8Array(0xb8));
    await patched.setPointer(spare, NOWHERE);
    await patched.setPointer(spare + 8n, await address("ftrace_list_end"));
    await patched.setPointer(await address("ftrace_ops_list"), spare);
    const { found } = await run("ftrace");
    expect(found).toMatchObject([{ what: "ftrace_ops", address: spare, found: NOWHERE }]);
  });

  test("a hook of netfilter whose function is nobody's", async () => {
    const heads = (await address("init_net")) + (await offset("net", "nf.hooks_ipv4"));
    let entries = 0n;
    for (let at = heads; entries === 0n && at < heads + 40n; at += 8n) entries = await pointer(at);
    await patched.setPointer(entries + (await offset("nf_hook_entries", "hooks")), NOWHERE);
    const { found } = await run("netfilter");
    expect(found.map(({ found: at, owner }) => [at, owner])).toEqual([[NOWHERE, undefined]]);
  });

  test("a function that is told every key", async () => {
    const spare = await address("__log_buf");
    await patched.set(spare, new Uint8Array(24));
    await patched.setPointer(spare, NOWHERE);
    await patched.setPointer((await address("keyboard_notifier_list")) + 8n, spare);
    const { found } = await run("keyboard");
    expect(found).toMatchObject([{ what: "keyboard_notifier_list[0]", found: NOWHERE, severity: "alert" }]);
  });
});

test("a chain of functions that loops ends, and is told", async () => {
  const spare = await address("__log_buf");
  await patched.set(spare, new Uint8Array(24));
  await patched.setPointer(spare + 8n, spare);
  await patched.setPointer((await address("keyboard_notifier_list")) + 8n, spare);
  const { damage } = await run("keyboard");
  expect(damage).toHaveLength(1);
  expect(damage[0]).toContain("loop");
});

describe("what can't be read is no finding, and not examined either", () => {
  test("modules behind a tear of one list are not said to hide from it", async () => {
    // Both ways end at once: the head leads to what is no module's.
    const head = await address("modules");
    await patched.setPointer(head, NOWHERE);
    await patched.setPointer(head + 8n, NOWHERE);
    const { found, notes, damage } = await run("modules");
    expect(found).toEqual([]);
    expect(damage.length).toBeGreaterThan(0);
    expect(notes).toContainEqual({
      check: "modules",
      told: false,
      text: "the list of modules can't be read to its end: what it has not is no finding",
    });
  });

  test("memory of modules that the dump has not is told", async () => {
    const [first] = await listModules(patched.kernel).toArray();
    await patched.remove(first?.module as bigint);
    const { notes } = await run("modules");
    expect(notes.map(({ text }) => text).join("\n")).toMatch(
      /memory of modules: \d+ bytes of it are not in the dump/,
    );
  });

  test("a table of system calls that is not there", async () => {
    for (const name of ["sys_call_table", "ia32_sys_call_table", "x32_sys_call_table"]) {
      const found = await patched.kernel.symbols(name).toArray();
      for (const { address: at } of found) {
        for (let page = 0n; page < 3n; page++) await patched.remove(at + page * 4096n);
      }
    }
    const { found, notes, damage } = await run("syscalls");
    expect(found).toEqual([]);
    expect(damage.length).toBeGreaterThan(0);
    expect(notes.filter(({ told }) => told)).toEqual([]);
  });

  test("a head of a chain that is not there is not said to have no symbol", async () => {
    await patched.remove(await address("keyboard_notifier_list"));
    const { notes } = await run("keyboard");
    expect(notes).toEqual([
      {
        check: "keyboard",
        told: false,
        text: "keyboard_notifier_list is not in the dump, or could not be read",
      },
    ]);
  });
});

test("at a function's beginning, what a kprobe writes there is no patch, and any other jump is one", async () => {
  const { kernel } = patched;
  const { address: at } = await presentText(kernel);
  const data = await Io.of(kernel.memory.scheduler, kernelData, kernel);
  const patchOf = async (code: Uint8Array) => {
    await patched.set(at, code);
    const patches = await Io.of(kernel.memory.scheduler, readPatches, data, [at]);
    expect(patches.unread).toBe(0);
    return patches.at(0)?.kind;
  };
  const code = (await kernel.memory.read(at, 5)).slice();
  const jump = Uint8Array.of(0xe9, 0x34, 0x12, 0, 0);
  expect(await patchOf(code.with(0, 0xcc))).toBe("breakpoint");
  expect(await patchOf(jump)).toBe("jump");
  await registerKprobe(patched, at, code, at + 5n + 0x1234n);
  expect(await patchOf(code.with(0, 0xcc))).toBeUndefined();
  expect(await patchOf(jump)).toBeUndefined();
  expect(await patchOf(jump.with(1, 0x35))).toBe("jump");
});

async function unlink(node: bigint): Promise<void> {
  const [next, previous] = [await pointer(node), await pointer(node + 8n)];
  await patched.setPointer(previous, next);
  await patched.setPointer(next + 8n, previous);
}
