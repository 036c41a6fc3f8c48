/** What memtool says of a guest's files, mounts and namespaces against what the guest itself printed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { ProcessFact, Truth } from "../../fixtures/vm/truth.mjs";
import {
  deviceText,
  type LinuxKernel,
  listCgroups,
  listFiles,
  listMounts,
  listNamespaces,
  type Mount,
} from "../../src/linux/index.js";
import type { LinuxSubject } from "./linux-suite.js";

/** Runs the suite. @param get Is called once. */
export function filesSuite(name: string, get: () => Promise<LinuxSubject>): void {
  describe(`files and namespaces of processes: ${name}`, () => {
    let machine: Machine;
    let kernel: LinuxKernel;
    let truth: Truth;
    /** Those that /proc tells all about. */
    let processes: ProcessFact[];
    beforeAll(async () => {
      const subject = await get();
      truth = subject.truth;
      machine = await open(subject.target);
      kernel = await machine.linux();
      processes = truth.processes.filter(({ kernelThread, state }) => !kernelThread && state !== "Z");
    });
    afterAll(() => machine?.close());

    it("lists every descriptor of every process, and what it leads to", async () => {
      const files = await listFiles(kernel).toArray();
      const mine = files
        .filter(({ fd }) => typeof fd === "number")
        .map(({ pid, fd, path }) => `${pid} ${fd} ${path}`);
      const guests = truth.processes.flatMap(({ pid, files }) =>
        files.map(({ descriptor, target }) => `${pid} ${descriptor} ${target}`),
      );
      expect(mine.sort()).toEqual(guests.sort());
      expect(mine.length).toBeGreaterThan(20);
    });

    it("knows each process's directories and program", async () => {
      for (const { pid, workingDirectory, rootDirectory, executable } of processes) {
        const files = await listFiles(kernel, { pid }).toArray();
        const at = (role: string) => files.find(({ fd }) => fd === role)?.path;
        expect([at("cwd"), at("rtd"), at("txt")], `of ${pid}`).toEqual([
          workingDirectory,
          rootDirectory,
          executable,
        ]);
      }
    });

    it("tells types, inodes and devices that agree with the names", async () => {
      const mounts = await listMounts(kernel).toArray();
      const pids = new Set(processes.map(({ pid }) => pid));
      // (Kernel threads may have mounts of their own.)
      const files = (await listFiles(kernel).toArray()).filter(({ pid }) => pids.has(pid ?? -1));
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
        const mine = await listMounts(kernel, { pid }).toArray();
        const guests = mountinfo.split("\n").filter((line) => line !== "");
        expect(mine.map(lineOf), `of ${pid}`).toEqual(guests.map(withoutOwnOptions));
        // What a file system says of itself can't be known; what is known comes before it.
        for (const [i, { superOptions }] of mine.entries()) {
          const options = guests[i]?.split(" ").at(-1)?.split(",");
          expect(options?.slice(0, superOptions?.length)).toEqual(superOptions);
        }
      }
      expect(processes.length).toBeGreaterThan(2);
    });

    it("knows the namespaces that each process is in, and those of its children to be", async () => {
      const namespaces = await listNamespaces(kernel).toArray();
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
        expect(mine, `of ${pid}`).toEqual(guests);
        const own = await listNamespaces(kernel, { pid }).toArray();
        expect(own.every(({ pids, parentPids }) => [...pids, ...parentPids].includes(pid))).toBe(true);
        expect(new Set(own.map(({ type, inode }) => `${type}:[${inode}]`))).toEqual(
          new Set(Object.values(guests)),
        );
      }
    });

    it("lists the control groups of each process as /proc does", async () => {
      let compared = 0;
      for (const { pid } of processes) {
        const text = truth.texts[`/proc/${pid}/cgroup`];
        if (text === undefined) continue;
        const mine = await listCgroups(kernel, { pid }).toArray();
        const lines = mine.map(({ hierarchy, version, controllers, name, path, deleted }) => {
          const shown = version === 1 ? [...controllers, ...(name === "" ? [] : [`name=${name}`])] : [];
          return `${hierarchy}:${shown.join(",")}:${path}${deleted ? " (deleted)" : ""}\n`;
        });
        expect(lines.join(""), `of ${pid}`).toBe(text);
        compared++;
      }
      if (compared === 0) expect(await listCgroups(kernel).toArray()).toEqual([]);
    });
  });
}

/** As mountinfo writes it, without the options of the file system. */
function lineOf(mount: Mount): string {
  const fields: (string | number | undefined)[] = [mount.id, mount.parent, deviceText(mount.device ?? 0)];
  fields.push(escaped(mount.root), escaped(mount.mountpoint), mount.options.join(","));
  if (mount.shared !== null) fields.push(`shared:${mount.shared}`);
  if (mount.master !== null) fields.push(`master:${mount.master}`);
  if (mount.propagateFrom !== null) fields.push(`propagate_from:${mount.propagateFrom}`);
  if (mount.unbindable) fields.push("unbindable");
  fields.push("-", escaped(mount.type), escaped(mount.source));
  return fields.join(" ");
}

function withoutOwnOptions(line: string): string {
  return line.slice(0, line.lastIndexOf(" "));
}

/** As the kernel's `mangle`. */
function escaped(text: string | undefined): string | undefined {
  return text?.replace(/[ \t\n\\#]/g, (each) => `\\${each.charCodeAt(0).toString(8).padStart(3, "0")}`);
}
