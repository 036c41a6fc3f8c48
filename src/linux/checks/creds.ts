/**
 * Credentials that processes share: threads of one process do, processes never, as each fork makes its own.
 *
 * Facts: kernel/cred.c (`copy_creds`: shared with CLONE_THREAD only, else `prepare_creds`; `override_creds` makes `cred` another than
 * `real_cred` for a while), init/init_task.c (`init_cred` is the first task's, and of what is made from it nobody's: the structure
 * that `commit_creds(&init_cred)` of exploits gives away).
 */
import { symbolAddress } from "../kernel-data.js";
import { readTasks, type Task } from "../tasks/task.js";
import type { Check } from "./check.js";

/** @internal */
export const CREDS: Check = {
  name: "creds",
  description: "processes that have one another's credentials",
  run: function* (examination) {
    const { data, report } = examination;
    const tasks = yield* readTasks(data, { threads: true }, report);
    const init = yield* symbolAddress(data, "init_cred");
    const byCred = new Map<bigint, Map<number | undefined, Task>>();
    let overridden = 0;
    for (const task of tasks) {
      const { cred, realCred } = task.raw;
      if (cred !== undefined && realCred !== undefined && cred !== realCred) overridden++;
      if (realCred === undefined || realCred === 0n || task.tgid === 0) continue;
      const processes = byCred.get(realCred) ?? new Map<number | undefined, Task>();
      if (!processes.has(task.tgid)) processes.set(task.tgid, task);
      byCred.set(realCred, processes);
    }
    for (const [cred, processes] of byCred) {
      const others = [...processes.values()];
      const what = others.map(({ tgid, comm }) => `${comm ?? "?"} (${tgid ?? "?"})`);
      const evidence: string[] = [];
      if (cred === init) evidence.push("it is init_cred, which only the first task has");
      if (others.length > 1)
        evidence.push(`${others.length} processes share one struct cred, which no fork makes`);
      const shown = what.length > 8 ? [...what.slice(0, 8), `${what.length - 8} more`] : what;
      yield* examination.see({ what: `cred of ${shown.join(", ")}`, address: cred, evidence });
    }
    const also =
      overridden === 0 ? "" : `; ${overridden} act with others for a while (cred is not real_cred)`;
    examination.examined(`${tasks.length} threads, ${byCred.size} credentials${also}`);
    if (init === undefined)
      examination.untold("init_cred has no symbol: who has been given it can't be told");
  },
};
