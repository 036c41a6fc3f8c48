import { afterAll, expect, test } from "vitest";
import { open } from "../../../connectors/index.js";
import { Io } from "../../../src/io/index.js";
import { fileHolders, tableHolders } from "../../../src/linux/files/file-holders.js";
import { listFiles, listTasks, type Task } from "../../../src/linux/index.js";
import { kernelData } from "../../../src/linux/kernel-data.js";

const machine = open("fixtures/linux-6.1-x86_64.kdump");
afterAll(async () => (await machine).close());

test("no more descriptors are kept than that, and from which on they are left out is told", async () => {
  const kernel = await (await machine).linux();
  const tasks = await listTasks(kernel).toArray();
  const opened = await listFiles(kernel).toArray();
  const count = opened.filter(({ fd }) => typeof fd === "number").length;
  const damage: string[] = [];
  const holders = async (most: number) => {
    const routine = function* () {
      return yield* fileHolders(
        yield* kernelData(kernel),
        tasks,
        ({ message }) => damage.push(message),
        most,
      );
    };
    const found = await Io.of(kernel.memory.scheduler, routine);
    return [...found.values()].reduce((sum, each) => sum + each.length, 0);
  };
  expect(await holders(count)).toBe(count);
  expect(damage).toEqual([]);
  expect(await holders(3)).toBe(3);
  expect(damage).toEqual([expect.stringMatching(/^open files .*more than 3 descriptors/)]);
});

test("processes are asked for their files, and threads that have a table of their own, each table of threads once", () => {
  const task = (pid: number, tgid: number, files?: bigint) => ({ pid, tgid, raw: { files } }) as Task;
  const own = task(12, 10, 0x2000n);
  const [first, sharing] = [task(10, 10, 0x1000n), task(20, 20, 0x1000n)];
  const unknown = [task(14, 10), task(15, 10, 0n)];
  const tasks = [task(11, 10, 0x1000n), own, task(13, 10, 0x2000n), first, sharing, ...unknown];
  expect(tableHolders(tasks)).toEqual([first, sharing, own]);
});
