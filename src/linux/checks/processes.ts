/**
 * Processes that go by another's name: what the kernel keeps of a program when it starts it, against what the process made of it since.
 *
 * Facts: fs/exec.c (`begin_new_exec`: `comm` is the file's name as it was given, cut to 15 bytes; `set_mm_exe_file`), fs/binfmt_script.c
 * (of a script, the interpreter is the program), fs/binfmt_elf.c (`start_code`, `saved_auxv`; AT_EXECFN is the name as it was given, which
 * lies above the environment, where titles don't reach), include/linux/mm.h (VM_GROWSDOWN), kernel/sys.c (PR_SET_NAME, PR_SET_MM).
 */
import type { Routine } from "../../io/index.js";
import { readFiles } from "../files/file-paths.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { maybe, record, textAt, type Values, word } from "../objects/record.js";
import { stringsOf } from "../tasks/arguments.js";
import { memoryOfTask, readTasks, type Task } from "../tasks/task.js";
import { readVmas, type TaskVmas } from "../tasks/vma.js";
import { AT_ENTRY, AT_EXECFN, readAuxv } from "../userland/auxv.js";
import type { Check, CheckSeverity } from "./check.js";
import { argumentsFit, baseOf, KernelThreadNames, nameFits, shortName } from "./process-names.js";

const MM = record("mm_struct", {
  exe: maybe(word("exe_file")),
  startCode: word("start_code"),
  argStart: word("arg_start"),
  argEnd: word("arg_end"),
});
type Mm = Partial<Values<typeof MM.fields>>;

/** VM_GROWSDOWN (on the architectures that are supported, stacks grow down). */
const GROWS_DOWN = 0x100n;
/** PATH_MAX. */
const MAX_PATH = 4096;

/** What paths of files that are no more end with. */
const DELETED = / \(deleted\)$/;

/** What is known of a process. */
interface Facts {
  readonly task: Task;
  readonly mm: Mm;
  readonly vmas: TaskVmas["rows"];
  /** Where it began. */
  readonly entry: bigint | undefined;
  /** The name that it was started by; `undefined` if that can't be read. */
  readonly startedAs: string | undefined;
  readonly args: readonly string[] | undefined;
}

interface Evidence {
  readonly severity: CheckSeverity;
  readonly text: string;
}

/** @internal */
export const PROCESSES: Check = {
  name: "processes",
  also: ["process_spoofing"],
  description: "processes named like another program or a kernel thread, or whose program is gone",
  run: function* (examination) {
    const { data, report } = examination;
    const tasks = yield* readTasks(data, {}, report);
    const kernelThreads = new KernelThreadNames(tasks.filter(({ kernelThread }) => kernelThread === true));
    const users = tasks.filter(
      ({ kernelThread, mm }) => kernelThread === false && mm !== undefined && mm !== 0n,
    );
    const { facts, isWhole } = yield* readFacts(data, users, report);
    const exes = yield* readFiles(
      data,
      facts.map(({ mm }) => mm.exe ?? 0n),
      report,
    );
    const codes = facts.map(({ vmas, mm, entry }) => vmaAt(vmas, entry ?? mm.startCode));
    const mapped = yield* readFiles(
      data,
      codes.map((vma) => vma?.file ?? 0n),
      report,
    );
    const names = { kernelThreads, programs: programsByName(facts, exes) };
    let unread = 0;
    let renamed = 0;
    for (const [i, each] of facts.entries()) {
      const { task, mm, args } = each;
      const exe = exes[i];
      if (args === undefined || each.startedAs === undefined) unread++;
      const evidence: Evidence[] = [];
      if (mm.exe === 0n) evidence.push({ severity: "notice", text: "it has no program (exe_file is null)" });
      if (exe?.path !== undefined) {
        evidence.push(...programEvidence(exe.path), ...nameEvidence(each, exe.path, names));
        if (isRenamed(each, exe.path)) renamed++;
        const code = codes[i];
        if (code !== undefined || isWhole) {
          evidence.push(...codeEvidence(exe, code === undefined ? undefined : code.file, mapped[i]));
        }
      }
      evidence.push(...argumentEvidence(each, isWhole));
      yield* examination.see({
        what: `${task.comm ?? "?"} (${task.tgid ?? "?"})`,
        address: task.address,
        expected: exe?.path,
        severity: evidence.some(({ severity }) => severity === "alert") ? "alert" : "notice",
        evidence: evidence.map(({ text }) => text),
      });
    }
    const others =
      renamed === 0
        ? ""
        : `; ${renamed} have given themselves other names than their programs' (--all shows both)`;
    examination.examined(`${facts.length} processes${others}`);
    if (unread > 0) {
      examination.untold(
        `what ${unread} processes were started by is not in the dump: whether their names fit can't be told`,
      );
    }
    if (!isWhole) {
      examination.untold("not all mapped ranges can be read: that nothing is mapped somewhere is no finding");
    }
  },
};

/** Is it, as a file, still there? */
function programEvidence(path: string): Evidence[] {
  if (/^\/memfd:.* \(deleted\)$/s.test(path)) {
    return [{ severity: "notice", text: `its program was never a file: ${path.replace(DELETED, "")}` }];
  }
  return DELETED.test(path) ? [{ severity: "notice", text: "its program's file was deleted" }] : [];
}

/** Do its names claim that it is something else? (That they are others than its program's is no claim: daemons set titles.) */
function nameEvidence(
  { task, startedAs, args }: Facts,
  exe: string,
  { kernelThreads, programs }: KnownNames,
): Evidence[] {
  const { comm } = task;
  // (A link may have any name: only with the name as it was given, another is none of the program's.)
  if (comm === undefined || comm === "" || startedAs === undefined) return [];
  const evidence: Evidence[] = [];
  const notice = (text: string) => evidence.push({ severity: "notice", text });
  const own = ownNames(exe, startedAs);
  const isOwn = own.some((each) => nameFits(comm, each));
  const title = args?.[0] ?? "";
  if (kernelThreads.has(comm)) {
    if (isOwn) notice(`its program is called as a kernel thread is: ${exe}`);
    else
      evidence.push({
        severity: "alert",
        text: `it calls itself as a kernel thread is called, and runs ${exe}`,
      });
  } else if (!isOwn && programs.has(comm)) {
    notice(
      `it calls itself ${comm}, as processes that run ${programs.get(comm)} are called, and runs ${exe}`,
    );
  }
  const bracketed = /^\[([^\]]+)\]$/.exec(title)?.[1];
  if (bracketed !== undefined) {
    const text = `its arguments show "${cut(title)}", as a kernel thread's would be shown, and it runs ${exe}`;
    evidence.push({ severity: kernelThreads.has(bracketed) ? "alert" : "notice", text });
    return evidence;
  }
  // (Of a script, the kernel gives the interpreter's name as it likes, and then the script's.)
  const isScript = args?.slice(1).includes(startedAs) === true;
  if (title === "" || isScript || own.some((each) => argumentsFit(each, [title]))) return evidence;
  const isSame = !isOwn && /^[\w.+-]+$/.test(comm) && argumentsFit(comm, [title]);
  const other = programs.get(shortName(title));
  if (title.startsWith("/") || isSame || other !== undefined) {
    notice(
      `its first argument is "${cut(title)}"${isSame ? ", as it calls itself" : ""}, and it runs ${exe}`,
    );
  }
  return evidence;
}

/** Whether it goes by another name than its program's. */
function isRenamed({ task, startedAs }: Facts, exe: string): boolean {
  const { comm } = task;
  if (comm === undefined || startedAs === undefined) return false;
  return !ownNames(exe, startedAs).some((each) => nameFits(comm, each));
}

function ownNames(exe: string, startedAs: string): string[] {
  return [baseOf(exe.replace(DELETED, "")), baseOf(startedAs)];
}

/** What names mean here. */
interface KnownNames {
  readonly kernelThreads: KernelThreadNames;
  /** Paths of programs that processes run under their own name, by that. */
  readonly programs: ReadonlyMap<string, string>;
}

/** Is what it began in its program? */
function codeEvidence(
  exe: {
    readonly path: string | undefined;
    readonly inode: bigint | undefined;
    readonly device?: string | undefined;
  },
  file: bigint | undefined,
  mapped: typeof exe | undefined,
): Evidence[] {
  if (file === undefined) return [{ severity: "notice", text: "nothing is mapped where its program began" }];
  if (file === 0n) {
    return [{ severity: "notice", text: "where its program began, memory of no file is mapped" }];
  }
  // (A file of a union of file systems may be another's below: it has the same path.)
  if (mapped?.path === undefined || mapped.path === exe.path) return [];
  if (mapped.inode === undefined || (mapped.inode === exe.inode && mapped.device === exe.device)) return [];
  return [{ severity: "alert", text: `where its program began, ${mapped.path} is mapped` }];
}

/** Are its arguments where the kernel puts them? */
function argumentEvidence({ mm, vmas }: Facts, isWhole: boolean): Evidence[] {
  const { argStart, argEnd } = mm;
  if (argStart === undefined || argEnd === undefined || argStart === argEnd) return [];
  const vma = vmaAt(vmas, argStart);
  if (vma === undefined) {
    return isWhole
      ? [{ severity: "notice", text: "its arguments are said to be where nothing is mapped" }]
      : [];
  }
  return (vma.flags & GROWS_DOWN) === 0n
    ? [{ severity: "notice", text: "its arguments were moved out of its stack (PR_SET_MM)" }]
    : [];
}

function programsByName(
  facts: readonly Facts[],
  exes: readonly ({ readonly path: string | undefined } | undefined)[],
): Map<string, string> {
  const programs = new Map<string, string>();
  for (const [i, { task }] of facts.entries()) {
    const path = exes[i]?.path;
    if (path !== undefined && task.comm !== undefined && nameFits(task.comm, baseOf(path)))
      programs.set(task.comm, path);
  }
  return programs;
}

function* readFacts(
  data: KernelData,
  users: readonly Task[],
  report: OnDamage,
): Routine<{ facts: Facts[]; isWhole: boolean }> {
  const mms = yield* readEach(
    data,
    MM,
    users.map(({ mm }) => mm),
    "an mm_struct",
    report,
  );
  let isWhole = true;
  const ranges = yield* readVmas(data, users, (found) => {
    isWhole = false;
    report(found);
  });
  const byTask = new Map(ranges.map(({ task, rows }) => [task, rows]));
  const auxv = yield* readAuxv(data, users, report);
  const facts: Facts[] = [];
  for (const [i, task] of users.entries()) {
    const mm = mms[i];
    if (mm === undefined) continue;
    // (Pages that are swapped or were never read in are no damage to a kernel: they are counted.)
    const args = yield* stringsOf(data.kernel, task, "arguments", () => {});
    facts.push({
      task,
      mm,
      vmas: byTask.get(task) ?? [],
      entry: auxv[i]?.values.get(AT_ENTRY),
      startedAs: yield* textOf(data, task, auxv[i]?.values.get(AT_EXECFN)),
      args: args === undefined || args.partial ? undefined : args.args,
    });
  }
  return { facts, isWhole };
}

/** A string of a process, if all of it is there. */
function* textOf({ kernel }: KernelData, task: Task, at: bigint | undefined): Routine<string | undefined> {
  if (at === undefined || at === 0n || task.root === undefined) return undefined;
  const { bytes, holes } = yield* memoryOfTask(kernel, task).readPartial(at, MAX_PATH);
  const end = bytes.subarray(0, holes[0]?.start ?? bytes.length).indexOf(0);
  return end <= 0 ? undefined : textAt(bytes, 0, end);
}

function vmaAt(rows: TaskVmas["rows"], address: bigint | undefined): TaskVmas["rows"][number]["value"] {
  if (address === undefined) return undefined;
  return rows.find(({ value }) => value !== undefined && value.start <= address && address < value.end)
    ?.value;
}

function cut(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
