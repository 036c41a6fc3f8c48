/** Perf events of many kinds: what memtool finds against what the program that opened them printed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { bootPerf, type PerfGuest } from "../../fixtures/vm/perf.mjs";
import { listPerfEvents, type PerfEvent } from "../../src/linux/index.js";
import { jsonLines, memtool } from "../support/cli.js";
import { rowsOf } from "../support/vm-rows.js";

describe.each(["amd64", "amd64-612"] as const)("perf events of a guest: %s", (kind) => {
  let guest: PerfGuest;
  let machine: Machine;
  let events: PerfEvent[];
  const damage: string[] = [];
  const onDamage = (each: { message: string }) => void damage.push(each.message);
  beforeAll(async () => {
    guest = await bootPerf({ machine: kind, log: (line) => console.log(line) });
    machine = await open(guest.rawFile);
    events = await listPerfEvents(await machine.linux(), { onDamage }).toArray();
  });
  afterAll(async () => {
    await machine?.close();
    await guest?.close();
  });

  /** Lines of a section that the guest printed, by their fields. */
  const rows = (name: string) => rowsOf(guest.texts, name);
  const idOf = (name: string) => Number(rows("events").find((row) => row[0] === name)?.[1]);
  const made = (name: string) => events.find(({ id }) => id === idOf(name)) as PerfEvent;
  const heir = () => Number(guest.texts.get("heir"));

  it("has each that was opened, with its number, config, thread, CPU and descriptor, and nothing is damaged", () => {
    const mine = events
      .filter(({ parent }) => parent === null)
      .map(({ id, config, target, cpu, holders }) => {
        const fd = holders.find(({ pid }) => pid === 1)?.fd;
        return `${id} 0x${config?.toString(16)} ${target?.pid ?? -1} ${cpu} ${fd}`;
      });
    const truth = rows("events").map(
      ([, id, , config, , pid, cpu, fd]) => `${id} ${config} ${pid} ${cpu} ${fd}`,
    );
    expect(mine.sort()).toEqual(truth.sort());
    expect(damage).toEqual([]);
  });

  it("names what each counts, as perf-list(1) does", () => {
    const names = {
      sampling: "cpu-clock",
      counted: "page-faults",
      disabled: "task-clock",
      "of a child": "context-switches",
      tracepoint: "sched:sched_switch",
      breakpoint: `mem:${guest.texts.get("watched")}/4:w`,
      leader: "minor-faults",
      follower: "major-faults",
    };
    for (const [what, name] of Object.entries(names)) expect(made(what).name).toBe(name);
    expect(made("kprobe").name).toContain("do_nanosleep");
    const types = rows("events").map(([name = ""]) => made(name).type);
    expect(new Set(types)).toEqual(new Set(["software", "tracepoint", "breakpoint", "kprobe"]));
  });

  it("has the count of what counts no more, and the period of what samples", () => {
    for (const [name = "", , , , , , , , count] of rows("events")) {
      if (count !== "-") expect(made(name).count).toBe(BigInt(count as string));
    }
    expect(made("counted").count).toBeGreaterThanOrEqual(64n);
    expect(made("sampling")).toMatchObject({ period: 1_000_000n, frequency: null });
    // (Of a clock, the kernel makes a period of the 49 that were asked for.)
    expect(made("with a program").period).toBe(BigInt(Math.floor(1e9 / 49)));
    expect(made("disabled").excludes).toEqual(["kernel"]);
  });

  it("tells what counts now, what will when its thread runs, and what is switched off", () => {
    const states = (state: string) => events.filter((each) => each.state === state).map(({ id }) => id);
    const names = (...all: string[]) => all.map(idOf).sort((a, b) => a - b);
    expect(states("off")).toEqual(names("counted", "disabled"));
    const active = ["cpu 0", "cpu 1", "kprobe", "with a program", "of a thread that ended"];
    expect(states("active")).toEqual(names(...active));
    expect(states("inactive")).toHaveLength(events.length - 2 - active.length);
  });

  it("has the BPF program that runs when one occurs, and no other has one", () => {
    const [[id, name] = []] = rows("program");
    expect(events.filter(({ program }) => program !== null)).toMatchObject([
      { id: idOf("with a program"), program: { id: Number(id), name } },
    ]);
    expect(made("sampling")).toMatchObject({ handlerName: "perf_event_output_forward", handlerOwner: null });
  });

  it("has who opened each; nobody where that thread has ended", () => {
    const { owner, seen } = made("of a thread that ended");
    expect({ owner, seen }).toEqual({ owner: null, seen: ["cpu", "file"] });
    const others = events.filter(
      ({ id, parent }) => id !== idOf("of a thread that ended") && parent === null,
    );
    expect(others.map(({ owner }) => owner?.pid)).toEqual(others.map(() => 1));
  });

  it("has what a child inherited, of which nobody has a descriptor, and the first of a group", () => {
    const [child, ...rest] = events.filter(({ parent }) => parent !== null);
    expect(rest).toEqual([]);
    expect(child).toMatchObject({
      parent: made("inherited").address,
      target: { pid: heir(), comm: "mt-heir" },
      owner: null,
      holders: [],
      seen: ["task"],
    });
    expect(made("follower").leader).toBe(made("leader").address);
  });

  it("is shown to programs and people, and with --pid what is a process's", async () => {
    const { out, status } = await memtool(["perf-events", "--json", "-f", guest.rawFile]);
    expect(status).toBe(0);
    const lines = jsonLines(out);
    expect(lines.map(({ id }) => id)).toEqual(events.map(({ id }) => id));
    expect(lines.find(({ id }) => id === idOf("counted"))).toMatchObject({
      name: "page-faults",
      config: "0x2",
      count: Number(made("counted").count),
      target: { pid: 1, comm: "init" },
      kernels: false,
    });
    const own = await memtool(["perf-events", "--pid", `${heir()}`, "-f", guest.rawFile]);
    expect(own.out).toMatch(/^ID +TYPE +EVENT +PMU +STATE +TARGET /);
    expect(own.out).toMatch(/ \d+\/mt-heir +any +0 +\(inherited\) /);
  });
});
