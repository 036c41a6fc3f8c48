import { listTasks, readEnvironment } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

/** One variable of a process. */
interface Variable {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  /** "" for a string without an equals sign. */
  readonly name: string;
  readonly value: string;
}

const COLUMNS: readonly ListColumn<Variable>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: ({ pid }) => pid },
  { field: "comm", title: "PROCESS", value: ({ comm }) => comm },
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "value", title: "VALUE", value: ({ value }) => value },
];

/** `memtool env`. */
export const ENV: KernelCommand = {
  name: "env",
  description: "the environment that each process was started with (and may have written over since)",
  examples: ["env --pid 1"],
  ofProcess: true,
  async run({ session, kernel, pid }) {
    const damage = new DamageSummary();
    const variables: Variable[] = [];
    for await (const task of listTasks(kernel, { pid, onDamage: damage.add })) {
      const found = await readEnvironment(kernel, task, { onDamage: damage.add });
      for (const text of found?.args ?? []) {
        const equals = text.indexOf("=");
        const { pid: own, comm } = task;
        variables.push({
          pid: own,
          comm,
          name: text.slice(0, Math.max(0, equals)),
          value: text.slice(equals + 1),
        });
      }
    }
    const none =
      pid === undefined
        ? "no process has an environment"
        : `process ${pid} has no environment, or there is none`;
    return await showList(session, variables, COLUMNS, damage, none);
  },
};
