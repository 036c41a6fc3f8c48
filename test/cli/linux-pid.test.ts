/** `--pid` with the commands that list: less of what is some process's, refused for what is the kernel's. */
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP } from "../support/cli-dump.js";

/** The guest's process that has a timer of each kind, among others. */
const TIMERS = 115;

async function rows(...command: string[]): Promise<Record<string, unknown>[]> {
  return jsonLines((await memtool([...command, "--json", ...ON_DUMP])).out);
}

describe("--pid", () => {
  it.each<[string, (row: Record<string, unknown>, pid: number) => boolean]>([
    ["timers", ({ tgid }, pid) => tgid === pid],
    ["tty", ({ users }, pid) => (users as { pid: number }[]).some((user) => user.pid === pid)],
    ["files", (row, pid) => row.pid === pid],
    ["sockets", ({ owners }, pid) => (owners as { pid: number }[]).some((owner) => owner.pid === pid)],
  ])("leaves of %s what is that process's", async (command, isOf) => {
    const all = await rows(command);
    const mine = all.filter((row) => isOf(row, TIMERS));
    expect(mine.length).toBeLessThan(all.length);
    expect(await rows(command, "--pid", `${TIMERS}`)).toEqual(mine);
    if (command === "timers") {
      expect(mine.map((row) => row.function)).toEqual(
        expect.arrayContaining(["posix_timer_fn", "it_real_fn"]),
      );
    }
  });

  it.each([
    ["timers", "no timers of process 98", 0],
    ["tty", "process 2 has no terminals open", 0],
    ["kthreads", "there is no kernel thread 98", 1],
    ["ps", "there is no process 99999", 1],
  ])("says so where %s has nothing of it", async (command, says, expected) => {
    const pid = /\d+/.exec(says)?.[0] as string;
    const { out, err, status } = await memtool([command, "--pid", pid, ...ON_DUMP]);
    expect([out, err, status]).toEqual(["", `memtool: ${says}\n`, expected]);
  });

  it("of no process is an error of symbols, whose answers are the same in all", async () => {
    const of = (pid: string) => memtool(["symbols", "init_task", "--pid", pid, ...ON_DUMP]);
    expect((await of("1")).out).toBe((await memtool(["symbols", "init_task", ...ON_DUMP])).out);
    expect(await of("99999")).toMatchObject({
      status: 1,
      out: "",
      err: expect.stringContaining("no process 99999"),
    });
  });

  it.each([
    ..."modules ebpf dmesg iomem cpus irqs slabs netfilter banner config".split(" ").map((each) => [each]),
    ["types", "list_head"],
    ["owners", "0x1000"],
  ])("is refused by %s, which lists what is the kernel's", async (...command) => {
    const { out, err, status } = await memtool([...command, "--pid", "1", ...ON_DUMP]);
    expect([out, status]).toEqual(["", 2]);
    expect(err).toBe(
      `memtool: ${command[0]}: what it lists is the kernel's, not a process's: leave out --pid\n`,
    );
  });
});
