/**
 * Names of processes: which fit a program, which are kernel threads'.
 *
 * Facts: include/linux/sched.h (TASK_COMM_LEN is 16, with a NUL); kernel/workqueue.c, kernel/kthread.c, kernel/smpboot.c, kernel/cpu.c,
 * kernel/irq/manage.c, fs/jbd2/journal.c for names of threads that every kernel has.
 */
import { encodeUtf8 } from "../../memory/text.js";
import { textAt } from "../objects/record.js";
import type { Task } from "../tasks/task.js";

/** Bytes of `comm`. */
const COMM = 15;

/** Whatever threads a kernel has now, these are none of a program. */
const KERNEL_THREAD = /^(kworker\/|ksoftirqd\/|migration\/|cpuhp\/|irq\/\d|jbd2\/|rcu_|kswapd\d|kthreadd$)/;

/** The last name of a path. */
export function baseOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Whether a `comm` is a program's name: as far as it goes. */
export function nameFits(comm: string, program: string): boolean {
  return comm === cutName(program);
}

/**
 * Whether arguments have a name in them: as an argument's last name, without what login
 * shells and titles add to it ("-sh", "sshd: root@pts/0"), and of names that differ in what they end with, one (python3, python3.11).
 */
export function argumentsFit(name: string, args: readonly string[]): boolean {
  return args.some((argument) => {
    return [baseOf(argument), baseOf(wordOf(argument))].some((each) => isKin(each, name));
  });
}

/** The last name in an argument or a title, as `comm` would have it. */
export function shortName(argument: string): string {
  return cutName(baseOf(wordOf(argument)));
}

function wordOf(argument: string): string {
  return argument.replace(/^-/, "").split(/[\s:]/, 1)[0] ?? "";
}

function isKin(one: string, other: string): boolean {
  const [a, b] = [cutName(one), cutName(other)];
  if (a === b) return true;
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  // "php-fpm" of "php-fpm8.2", but not "s" of "sshd", nor "ssh" of "sshd".
  return short.length > 1 && long.startsWith(short) && !/^[A-Za-z_]/.test(long.slice(short.length));
}

function cutName(name: string): string {
  const bytes = encodeUtf8(name);
  return bytes.length <= COMM ? name : textAt(bytes, 0, COMM);
}

/** What kernel threads are called. */
export class KernelThreadNames {
  readonly #names = new Set<string>();

  constructor(threads: readonly Task[]) {
    for (const { comm, name } of threads) {
      if (comm !== undefined && comm !== "") this.#names.add(comm);
      if (name !== undefined && name !== "") this.#names.add(name);
    }
  }

  /** Whether one is called so, or every kernel's are. */
  has(name: string): boolean {
    return KERNEL_THREAD.test(name) || this.#names.has(name) || this.#names.has(cutName(name));
  }
}
