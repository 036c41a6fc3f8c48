/** Terminals and their drivers in the committed dump's kernel once something of them is damaged or has been replaced. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Damage,
  listTasks,
  listTtyDrivers,
  listTtys,
  parseSystemMap,
  type Tty,
  type TtyDriver,
  type TypeTable,
  ttyRanges,
} from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const WILD = 0xffff_dead_0000_0000n;

describe("terminals", () => {
  let patched: PatchedKernel;
  let types: TypeTable;
  let whole: Tty[];
  let drivers: TtyDriver[];
  beforeEach(async () => {
    patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
    types = await patched.kernel.types();
    whole = await listTtys(patched.kernel).toArray();
    drivers = await listTtyDrivers(patched.kernel).toArray();
  });
  afterEach(() => patched.close());

  const member = (struct: string, path: string) => BigInt(offsetOf(types, struct, path));
  const pointer = async (at: bigint) => {
    const bytes = await patched.kernel.memory.read(at, 8);
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  };
  const named = <T extends { name: string | null | undefined }>(list: readonly T[], name: string) =>
    list.find((each) => each.name === name) as T;
  async function damaged() {
    const told: Damage[] = [];
    const onDamage = (each: Damage) => told.push(each);
    const ttys = await listTtys(patched.kernel, { onDamage }).toArray();
    return { ttys, told };
  }

  it("whose input another function receives say which: a module's, or one without a symbol", async () => {
    const { kernel } = patched;
    const at = member("tty_struct", "ldisc");
    const serial = named(whole, "ttyS1");
    const ops = await pointer(await pointer(serial.address + at));
    const place = ops + member("tty_ldisc_ops", "receive_buf2");
    const [module] = (await kernel.moduleSymbols()).all.filter(({ type }) => type === "t");
    if (module === undefined) throw new Error("no function of a module");
    await patched.setPointer(place, module.address);
    expect(named((await damaged()).ttys, "ttyS1")).toMatchObject({
      receiveAddress: module.address,
      receive: `${module.name} [${module.module}]`,
    });
    await patched.setPointer(place, (serial.receiveAddress ?? 0n) + 1n);
    expect(named((await damaged()).ttys, "ttyS1")).toMatchObject({ discipline: "n_tty", receive: null });
    // Without the newer function, the older one counts.
    await patched.setPointer(place, 0n);
    expect(named((await damaged()).ttys, "ttyS1").receive).toBe("n_tty_receive_buf");
  });

  it("of a driver whose count lies are those that can be read, and it is told", async () => {
    const serial = named(drivers, "ttyS");
    await patched.set(serial.address + member("tty_driver", "num"), Uint8Array.of(255, 255, 255, 255));
    const { ttys, told } = await damaged();
    expect(ttys.map(({ name }) => name)).toEqual(expect.arrayContaining(["ttyS0", "ttyS1"]));
    expect(told).toContainEqual(
      expect.objectContaining({ what: "the terminals of driver ttyS", reason: "too long" }),
    );
    const [again] = (await listTtyDrivers(patched.kernel).toArray()).filter(({ name }) => name === "ttyS");
    expect(ttyRanges(again as TtyDriver).length).toBeLessThanOrEqual(4096);
  });

  it("of a table that many drivers lead to are read once, and it is told", async () => {
    const serial = named(drivers, "ttyS");
    const later = named(drivers, "pts");
    await patched.setPointer(later.address + member("tty_driver", "ttys"), serial.ttys);
    const { ttys, told } = await damaged();
    expect(ttys).toEqual(whole.map(({ name }) => expect.objectContaining({ name })));
    expect(told).toMatchObject([
      { what: "the terminals of driver pts", address: serial.ttys, reason: "mismatch" },
    ]);
  });

  it("are found by open files where their driver's table is gone", async () => {
    const serial = named(drivers, "ttyS");
    await patched.setPointer(serial.address + member("tty_driver", "ttys"), WILD);
    const { ttys, told } = await damaged();
    expect(ttys).toEqual(whole.map((tty) => expect.objectContaining({ name: tty.name, users: tty.users })));
    expect(told).toMatchObject([{ what: "the terminals of driver ttyS", reason: "unreadable" }]);
  });

  it("of sessions are found by those alone, with the leader's name", async () => {
    const { kernel } = patched;
    const [init, other] = await listTasks(kernel).toArray();
    const console = named(whole, "ttyS0");
    await patched.setPointer((init?.raw.signal ?? 0n) + member("signal_struct", "tty"), console.address);
    await patched.setPointer(
      console.address + member("tty_struct", "ctrl.session"),
      await pointer((other?.address ?? 0n) + member("task_struct", "thread_pid")),
    );
    await patched.setPointer(named(drivers, "ttyS").address + member("tty_driver", "ttys"), 0n);
    const { ttys, told } = await damaged();
    expect(told).toEqual([]);
    expect(named(ttys, "ttyS0")).toMatchObject({ session: other?.pid, sessionComm: other?.comm });
  });

  it("with a driver that the kernel does not list, or a wild session, are given with what is left", async () => {
    const { address } = named(whole, "ttyS1");
    await patched.setPointer(address + member("tty_struct", "driver"), WILD);
    await patched.setPointer(address + member("tty_struct", "ctrl.session"), WILD);
    const { ttys, told } = await damaged();
    expect(named(ttys, "ttyS1")).toMatchObject({
      driver: undefined,
      major: undefined,
      session: undefined,
      sessionComm: undefined,
      discipline: "n_tty",
    });
    expect(told).toMatchObject([
      { what: "a struct pid", address: WILD, reason: "unreadable" },
      { what: "a terminal", address, reason: "invalid" },
    ]);
    await expect(listTtys(patched.kernel).toArray()).rejects.toMatchObject({ code: "DAMAGED" });
  });

  it("have drivers whose list is followed from its other end where it breaks", async () => {
    const third = drivers[2] as TtyDriver;
    await patched.setPointer(third.address + member("tty_driver", "tty_drivers"), WILD);
    const told: Damage[] = [];
    const onDamage = (each: Damage) => told.push(each);
    expect(await listTtyDrivers(patched.kernel, { onDamage }).toArray()).toEqual(drivers);
    expect(told).toMatchObject([{ what: "the list of drivers of terminals", reason: "unreadable" }]);
  });

  it("have drivers too where only functions have symbols: their list is found by its first one", async () => {
    const { kernel } = patched;
    const known = await kernel.kallsyms();
    const functions = [...known.match("*")].filter(({ type }) => type.toLowerCase() === "t");
    const map = functions.map(({ address, type, name }) => `${address.toString(16)} ${type} ${name}\n`);
    kernel.useSymbols(parseSystemMap(Uint8Array.from(Buffer.from(map.join("")))).kallsyms);
    expect(await listTtyDrivers(kernel).toArray()).toEqual(drivers);
  });
});

describe("ttyRanges", () => {
  it("are as many as the majors that a driver's numbers reach into", () => {
    const driver = { major: 136, minor: 0, count: 1 << 20 } as TtyDriver;
    expect(ttyRanges(driver)).toEqual([{ major: 136, first: 0, last: 1_048_575 }]);
    expect(ttyRanges({ ...driver, minor: 1_048_574, count: 3 })).toEqual([
      { major: 136, first: 1_048_574, last: 1_048_575 },
      { major: 137, first: 0, last: 0 },
    ]);
  });
});
