/**
 * Files, mounts, namespaces and control groups of every kind, on two kernels: what memtool says of them against what the guest's
 * /proc said, row by row.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { bootFiles, type FilesGuest } from "../../fixtures/vm/files.mjs";
import {
  type LinuxKernel,
  listCgroups,
  listFiles,
  listMounts,
  listNamespaces,
  listTasks,
  type OpenFile,
  type Task,
} from "../../src/linux/index.js";
import { lineOf, withoutOwnOptions } from "../support/files-suite.js";

for (const kind of ["amd64", "amd64-612"] as const) {
  describe(`a guest with files of every kind: ${kind}`, () => {
    let guest: FilesGuest;
    let machine: Machine;
    let kernel: LinuxKernel;
    let tasks: Task[];
    beforeAll(async () => {
      guest = await bootFiles({ machine: kind, log: (line) => console.log(line) });
      machine = await open(guest.rawFile);
      kernel = await machine.linux();
      tasks = await listTasks(kernel).toArray();
    });
    afterAll(async () => {
      await machine?.close();
      await guest?.close();
    });

    /** Lines of what the guest printed of a process. */
    function printed(pid: number | undefined, name: string): string[] {
      return (guest.texts.get(`/proc/${pid}/${name}`) ?? "").split("\n").filter((line) => line !== "");
    }

    /** The program that printed had /proc open; it has no longer. */
    const isOpenNoMore = (target: string) => target === "/proc" || /^\/proc\/\d+\/fd$/.test(target);

    it("has every descriptor's name as its link has it", async () => {
      const files = await listFiles(kernel).toArray();
      for (const { pid } of tasks) {
        const mine = files
          .filter((file) => file.pid === pid && typeof file.fd === "number")
          .map(({ fd, path }) => `${fd} ${path}`);
        const guests = linksOf(printed(pid, "fd")).filter(([, target]) => !isOpenNoMore(target));
        expect(mine.sort(), `of ${pid}`).toEqual(guests.map((link) => link.join(" ")).sort());
        const roles = ["cwd", "rtd", "txt"].map((role) => pathAt(files, pid, role));
        const links = new Map(linksOf(printed(pid, "links")));
        expect(roles, `of ${pid}`).toEqual(["cwd", "root", "exe"].map((name) => links.get(name)));
      }
      expect(files.filter(({ unmounted }) => unmounted).map(({ path }) => path)).toEqual(["/deep/file"]);
      expect(files.length).toBeGreaterThan(100);
    });

    it("has every descriptor's position, flags and inode as fdinfo has them", async () => {
      let compared = 0;
      for (const { pid, fd, position, flags, inode, path } of await listFiles(kernel).toArray()) {
        const text = printed(pid, `fdinfo/${fd}`).join("\n");
        if (text === "" || isOpenNoMore(path ?? "")) continue;
        const field = (name: string) => new RegExp(`^${name}:\t(\\d+)`, "m").exec(text)?.[1];
        expect([`${position}`, `0${flags?.toString(8)}`], `${pid} ${fd} ${path}`).toEqual([
          field("pos"),
          field("flags"),
        ]);
        if (field("ino") !== undefined) expect(`${inode}`, path).toBe(field("ino"));
        compared++;
      }
      expect(compared).toBeGreaterThan(60);
    });

    it("has every process's mounts as its mountinfo has them", async () => {
      for (const { pid, state } of tasks) {
        if (state === "Z") continue;
        const mounts = await listMounts(kernel, { pid }).toArray();
        expect(mounts.map(lineOf), `of ${pid}`).toEqual(printed(pid, "mountinfo").map(withoutOwnOptions));
      }
      const seen = tasks.flatMap(({ pid }) => printed(pid, "mountinfo")).join("\n");
      for (const each of ["shared:", "master:", "propagate_from:", "unbindable", "//deleted", "net:["]) {
        expect(seen).toContain(each);
      }
    });

    it("has every process's namespaces, and those of its children", async () => {
      const namespaces = await listNamespaces(kernel).toArray();
      for (const { pid, state } of tasks) {
        if (pid === undefined || state === "Z") continue;
        const mine = new Map<string, string>();
        for (const { type, inode, pids, parentPids } of namespaces) {
          const name = `${type}:[${inode}]`;
          const hasChildren = type === "pid" || type === "time";
          if (pids.includes(pid)) mine.set(type, name);
          if (pids.includes(pid) && hasChildren && !mine.has(`${type}_for_children`)) {
            mine.set(`${type}_for_children`, name);
          }
          if (parentPids.includes(pid)) mine.set(`${type}_for_children`, name);
        }
        expect(mine, `of ${pid}`).toEqual(new Map(linksOf(printed(pid, "ns"))));
      }
      const levels = namespaces.filter(({ type }) => type === "pid").map(({ level }) => level);
      expect(levels.sort()).toEqual([0, 1, 2]);
    });

    it("has every process's control groups, in both versions", async () => {
      const groups = await listCgroups(kernel).toArray();
      for (const { pid } of tasks) {
        const mine = groups
          .filter((group) => group.pid === pid)
          .map(({ hierarchy, version, controllers, name, path, deleted }) => {
            const shown =
              version === 1 ? [...(controllers ?? []), ...(name === "" ? [] : [`name=${name}`])] : [];
            return `${hierarchy}:${shown.join(",")}:${path}${deleted ? " (deleted)" : ""}`;
          });
        expect(mine, `of ${pid}`).toEqual(printed(pid, "cgroup"));
      }
      expect(groups.map(({ path }) => path)).toEqual(
        expect.arrayContaining(["/a/b c", "/dead", "/p/q", "/one"]),
      );
    });
  });
}

function pathAt(files: readonly OpenFile[], pid: number | undefined, role: string): string | undefined {
  return files.find((file) => file.pid === pid && file.fd === role)?.path;
}

/** Names and targets. What is no UTF-8 is a character a byte, as memtool has it. */
function linksOf(lines: readonly string[]): [string, string][] {
  return lines.map((line) => {
    const [name, escaped = ""] = line.split("\t") as [string, string];
    const bytes = escaped.replace(/\\x(..)/g, (_, digits) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    );
    const decoded = Buffer.from(bytes, "latin1").toString("utf8");
    return [name, decoded.includes("\ufffd") ? bytes : decoded];
  });
}
