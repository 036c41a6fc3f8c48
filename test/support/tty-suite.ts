/** Terminals of a dump against what its guest printed: /proc/tty/drivers, /proc/PID/stat, and the links of every process's descriptors. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import {
  type LinuxKernel,
  listTtyDrivers,
  listTtys,
  type Tty,
  type TtyDriver,
  ttyRanges,
} from "../../src/linux/index.js";

/** Lines of /proc/tty/drivers that stand for no driver (fs/proc/proc_tty.c, `show_tty_driver`). */
const PSEUDO = /^\/dev\/(tty|console|ptmx|vc\/0) /;
/** Links of descriptors that lead to terminals. */
const TERMINAL = /^\/dev\/(?:console|ptmx|pts\/\w+|tty\w*)$/;

/** Runs the tests. @param load The dump, and its truth. */
export function ttySuite(
  name: string,
  load: () => Promise<{ target: string | string[]; truth: Truth }>,
): void {
  describe(`the terminals of ${name}`, () => {
    let machine: Machine;
    let kernel: LinuxKernel;
    let truth: Truth;
    let ttys: Tty[];

    beforeAll(async () => {
      const { target, truth: facts } = await load();
      truth = facts;
      machine = await open(target);
      kernel = await machine.linux();
      ttys = await listTtys(kernel).toArray();
    });
    afterAll(() => machine?.close());

    it("have the drivers that /proc/tty/drivers shows, in its order", async () => {
      const lines = (truth.texts["/proc/tty/drivers"] ?? "").trimEnd().split("\n");
      const shown = lines.filter((line) => !PSEUDO.test(line)).map((line) => line.split(/\s+/));
      expect(shown.length).toBeGreaterThan(3);
      const drivers = await listTtyDrivers(kernel).toArray();
      expect(drivers.flatMap(driverLines)).toEqual(shown);
    });

    it("are open by the descriptors whose links lead to terminals, and by no others", () => {
      const links = truth.processes.flatMap(({ pid, files }) =>
        files
          .filter(({ target }) => TERMINAL.test(target))
          .map(({ descriptor, target }) => `${pid} ${descriptor} ${shownName(target)}`),
      );
      expect(links.length).toBeGreaterThan(2);
      const users = ttys.flatMap((tty) =>
        tty.users.map(({ pid, fd }) => {
          // (The console's own file stays /dev/console, wherever it leads; any master's is /dev/ptmx.)
          const link = truth.processes
            .find((each) => each.pid === pid)
            ?.files.find(({ descriptor }) => descriptor === fd)?.target;
          const isOther = link === "/dev/console" || link === "/dev/tty" || tty.name?.startsWith("ptm");
          return `${pid} ${fd} ${isOther ? shownName(link ?? "") : `/dev/${tty.name}`}`;
        }),
      );
      expect(users.sort()).toEqual(links.sort());
    });

    it("are the one of the console, and those of sessions with their leader and foreground group", () => {
      const [, console, major, minor] =
        /^(\w+) .* (\d+):(\d+)$/m.exec(truth.texts["/proc/consoles"] ?? "ttyS0 4:64") ?? [];
      expect(ttys.map((tty) => `${tty.name} ${tty.major}:${tty.minor}`)).toContain(
        `${console ?? "ttyS0"} ${major ?? 4}:${minor ?? 64}`,
      );
      for (const { pid, session, text } of stats(truth)) {
        const { number, group } = text;
        if (number === 0) continue;
        const found = ttys.find((tty) => encoded(tty) === number);
        expect(found, `the terminal of process ${pid}`).toMatchObject({ session, foreground: group });
        const leader = truth.processes.find((each) => each.pid === session);
        if (leader !== undefined) expect(found?.sessionComm).toBe(leader.name.slice(0, 15));
      }
    });

    it("have line disciplines whose function is the kernel's", () => {
      expect(ttys.length).toBeGreaterThan(0);
      for (const { name, discipline, receive, count } of ttys) {
        expect({ name, discipline, receive }).toEqual({
          name,
          discipline: "n_tty",
          receive: expect.stringMatching(/^n_tty_receive_buf2?$/),
        });
        expect(count).toBeGreaterThan(0);
      }
    });
  });
}

function driverLines(driver: TtyDriver): string[][] {
  return ttyRanges(driver).map(({ major, first, last }) => [
    driver.driverName ?? "unknown",
    `/dev/${driver.name}`,
    String(major),
    first === last ? String(first) : `${first}-${last}`,
    driver.type,
  ]);
}

/** What a link of a pseudo-terminal's master says, by either of its paths. */
function shownName(target: string): string {
  return target === "/dev/pts/ptmx" ? "/dev/ptmx" : target;
}

/** As /proc/PID/stat numbers devices (`new_encode_dev`). */
function encoded({ major = 0, minor = 0 }: Tty): number {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}

/** Terminal and foreground group of processes (proc_pid_stat(5): fields 6, 7 and 8). */
function stats({ texts }: Truth) {
  return Object.entries(texts).flatMap(([path, text]) => {
    const pid = /^\/proc\/(\d+)\/stat$/.exec(path)?.[1];
    if (pid === undefined) return [];
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const [session, number, group] = fields.slice(3, 6).map(Number);
    return [{ pid: Number(pid), session, text: { number, group } }];
  });
}
