/** What memtool says of a guest's files, mounts and namespaces against what the guest itself printed. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { ProcessFact, Truth } from "../../fixtures/vm/truth.mjs";
import {
  type Damage,
  deviceText,
  type LinuxKernel,
  listCgroups,
  listFiles,
  listMounts,
  listNamespaces,
  listTasks,
  type Mount,
} from "../../src/linux/index.js";
import type { LinuxSubject } from "./linux-suite.js";

/** Runs the suite. @param get Is called once. */
export function filesSuite(name: string, get: () => Promise<LinuxSubject>): void {
  describe(`files and namespaces of processes: ${name}`, () => {
    let machine: Machine;
    let kernel: LinuxKernel;
    let truth: Truth;
    let filtered = false;
    let damage: Damage[] = [];
    const onDamage = (found: Damage) => damage.push(found);
    /** Those that /proc tells all about. */
    let processes: ProcessFact[];
    beforeAll(async () => {
      const subject = await get();
      truth = subject.truth;
      filtered = subject.filtered === true;
      machine = await open(subject.target);
      kernel = await machine.linux();
      processes = truth.processes.filter(({ kernelThread, state }) => !kernelThread && state !== "Z");
    });
    afterAll(() => machine?.close());
    beforeEach(() => {
      damage = [];
    });

    /** Both say the same, or, of a dump that lacks pages: what is there is right, and what is missing is told. */
    function expectSame(mine: readonly string[], guests: readonly string[], what?: string): void {
      if (!filtered) {
        expect(mine, what).toEqual(guests);
        expect(damage).toEqual([]);
        return;
      }
      const known = mine.filter((line) => !line.includes("undefined"));
      for (const line of known) expect(guests, what).toContain(line);
      if (known.length < guests.length) expect(damage.length).toBeGreaterThan(0);
    }

    it("lists every descriptor of every process, and what it leads to", async () => {
      const files = await listFiles(kernel, { onDamage }).toArray();
      const mine = files
        .filter(({ fd }) => typeof fd === "number")
        .map(({ pid, fd, path }) => `${pid} ${fd} ${path}`);
      const guests = truth.processes.flatMap(({ pid, files }) =>
        files.map(({ descriptor, target }) => `${pid} ${descriptor} ${target}`),
      );
      expectSame(mine.sort(), guests.sort());
      expect(mine.length).toBeGreaterThan(filtered ? 5 : 20);
    });

    it("knows each descriptor's position, flags and inode, as fdinfo has them", async () => {
      const files = await listFiles(kernel, { onDamage }).toArray();
      const mine = files
        .filter(({ fd }) => typeof fd === "number")
        .map(
          ({ pid, fd, position, flags, inode }) => `${pid} ${fd} ${position} 0${flags?.toString(8)} ${inode}`,
        );
      const guests = truth.processes.flatMap(({ pid, files }) =>
        files.map(({ descriptor, info }) => {
          const fact = (name: string) => new RegExp(`^${name}:\\t(.*)$`, "m").exec(info)?.[1];
          return `${pid} ${descriptor} ${fact("pos")} ${fact("flags")} ${fact("ino")}`;
        }),
      );
      expectSame(mine.sort(), guests.sort());
    });

    it("knows each process's directories and program", async () => {
      for (const { pid, workingDirectory, rootDirectory, executable } of processes) {
        if (filtered && !(await isThere(pid))) continue;
        const files = await listFiles(kernel, { pid, onDamage }).toArray();
        const mine = ["cwd", "rtd", "txt"].map(
          (role) => `${role} ${files.find(({ fd }) => fd === role)?.path}`,
        );
        const guests = [`cwd ${workingDirectory}`, `rtd ${rootDirectory}`, `txt ${executable}`];
        expectSame(mine, guests, `of ${pid}`);
      }
    });

    it("tells types, inodes and devices that agree with the names", async () => {
      const mounts = await listMounts(kernel, { onDamage }).toArray();
      const pids = new Set(processes.map(({ pid }) => pid));
      // (Kernel threads may have mounts of their own.)
      const files = (await listFiles(kernel, { onDamage }).toArray()).filter(
        ({ pid, inode, device }) => pids.has(pid ?? -1) && inode !== undefined && device !== undefined,
      );
      for (const { path, type, inode, device, special } of files) {
        const numbered = /^(pipe|socket):\[(\d+)\]$/.exec(path ?? "");
        if (numbered !== null) {
          expect(inode, path).toBe(BigInt(numbered[2] as string));
          expect(type, path).toBe(numbered[1] === "pipe" ? "fifo" : "sock");
        }
        if (path?.startsWith("anon_inode:") === true) expect(type, path).toBe("anon");
        if (path === "/dev/null") {
          expect([type, special === undefined ? "" : deviceText(special)]).toEqual(["chr", "1:3"]);
          expect(
            mounts.filter(({ mountpoint }) => mountpoint === "/dev").map((each) => each.device),
          ).toContain(device);
        }
        if (path === "/") expect([type, device]).toEqual(["dir", mounts[0]?.device]);
      }
    });

    it("lists the mounts of each process's namespace, field by field as mountinfo has them", async () => {
      for (const { pid, mountinfo } of processes) {
        if (filtered && !(await isThere(pid))) continue;
        const mine = await listMounts(kernel, { pid, onDamage }).toArray();
        const guests = mountinfo.split("\n").filter((line) => line !== "");
        expectSame(mine.map(lineOf), guests.map(withoutOwnOptions), `of ${pid}`);
        if (mine.length < guests.length) continue;
        // What a file system says of itself can't be known; what is known comes before it.
        for (const [i, { superOptions }] of mine.entries()) {
          const options = guests[i]?.split(" ").at(-1)?.split(",");
          expect(options?.slice(0, superOptions?.length)).toEqual(superOptions);
        }
      }
      expect(processes.length).toBeGreaterThan(2);
    });

    it("knows the namespaces that each process is in, and those of its children to be", async () => {
      const namespaces = await listNamespaces(kernel, { onDamage }).toArray();
      for (const { pid, namespaces: guests } of processes) {
        const mine: Record<string, string> = {};
        for (const { type, inode, pids, parentPids } of namespaces) {
          const name = `${type}:[${inode}]`;
          const hasChildren = type === "pid" || type === "time";
          if (pids.includes(pid)) {
            mine[type] = name;
            if (hasChildren) mine[`${type}_for_children`] ??= name;
          }
          if (parentPids.includes(pid)) mine[`${type}_for_children`] = name;
        }
        const lines = (names: Record<string, string>) =>
          Object.entries(names)
            .map(([type, name]) => `${type} ${name}`)
            .sort();
        expectSame(lines(mine), lines(guests), `of ${pid}`);
        if (filtered) continue;
        const own = await listNamespaces(kernel, { pid }).toArray();
        expect(own.every(({ pids, parentPids }) => [...pids, ...parentPids].includes(pid))).toBe(true);
        expect(new Set(own.map(({ type, inode }) => `${type}:[${inode}]`))).toEqual(
          new Set(Object.values(guests)),
        );
      }
    });

    it("knows how deep a PID namespace is, what is above an inner one, and whose a user namespace is", async () => {
      const namespaces = await listNamespaces(kernel, { onDamage }).toArray();
      const ofType = (wanted: string, pid: number) =>
        namespaces.find(({ type, pids }) => type === wanted && pids.includes(pid));
      const depths = new Set<number>();
      for (const { pid, status } of processes) {
        if (filtered && !(await isThere(pid))) continue;
        const depth = (/^NSpid:(.*)$/m.exec(status)?.[1] ?? "").trim().split(/\s+/).length - 1;
        expect(ofType("pid", pid)?.level, `of ${pid}`).toBe(depth);
        depths.add(depth);
      }
      if (filtered) return;
      expect([...depths].sort()).toEqual([0, 1]);
      // (fixtures/vm/scenery.c, act_inner: by user 1500, all at once.)
      const pid = processes.find(({ name }) => name === "mt-inner-2")?.pid ?? 0;
      const [user, first] = [ofType("user", pid), ofType("user", 1)];
      expect(user).toMatchObject({ level: 1, uid: 1500, parent: first?.inode, user: first?.inode });
      expect(first).toMatchObject({ level: 0, uid: 0, parent: null, user: null });
      expect(ofType("pid", pid)).toMatchObject({ parent: ofType("pid", 1)?.inode, user: user?.inode });
      for (const type of ["uts", "ipc", "mnt", "cgroup"])
        expect(ofType(type, pid)?.user, type).toBe(user?.inode);
      expect(ofType("net", truth.networkPid)).toMatchObject({ user: first?.inode, pids: [truth.networkPid] });
    });

    it("lists the control groups of each process as /proc does", async () => {
      let compared = 0;
      for (const { pid } of processes) {
        const text = truth.texts[`/proc/${pid}/cgroup`];
        if (text === undefined || (filtered && !(await isThere(pid)))) continue;
        const mine = await listCgroups(kernel, { pid, onDamage }).toArray();
        const lines = mine.map(({ hierarchy, version, controllers, name, path, deleted }) => {
          const shown =
            version === 1 ? [...(controllers ?? []), ...(name === "" ? [] : [`name=${name}`])] : [];
          return `${hierarchy}:${shown.join(",")}:${path}${deleted ? " (deleted)" : ""}`;
        });
        expectSame(
          lines,
          text.split("\n").filter((line) => line !== ""),
          `of ${pid}`,
        );
        compared++;
      }
      // (Also of kernels that list functions only: no symbol names what says whether version 2's hierarchy was mounted.)
      if (compared === 0) expect(await listCgroups(kernel, { onDamage }).toArray()).toEqual([]);
    });

    /** Whether a dump that lacks pages has the process and what it points to. */
    async function isThere(pid: number): Promise<boolean> {
      const [task] = await listTasks(kernel, { pid, onDamage }).toArray();
      return task?.mm !== undefined && task.uid !== undefined;
    }
  });
}

/** As mountinfo writes it, without the options of the file system. */
export function lineOf(mount: Mount): string {
  const fields: (string | number | undefined)[] = [mount.id, mount.parent, deviceText(mount.device ?? 0)];
  fields.push(escaped(mount.root), escaped(mount.mountpoint), mount.options.join(","));
  if (mount.shared !== null) fields.push(`shared:${mount.shared}`);
  if (mount.master !== null) fields.push(`master:${mount.master}`);
  if (mount.propagateFrom !== null) fields.push(`propagate_from:${mount.propagateFrom}`);
  if (mount.unbindable) fields.push("unbindable");
  fields.push("-", escaped(mount.type), escaped(mount.source));
  return fields.join(" ");
}

/** A line of mountinfo without them. */
export function withoutOwnOptions(line: string): string {
  return line.slice(0, line.lastIndexOf(" "));
}

/** As the kernel's `mangle`. */
function escaped(text: string | undefined): string | undefined {
  return /^\w+:\[/.test(text ?? "")
    ? text
    : text?.replace(/[ \t\n\\#]/g, (each) => `\\${each.charCodeAt(0).toString(8).padStart(3, "0")}`);
}
