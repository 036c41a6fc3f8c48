/** The history of a shell in a guest, against what that shell itself printed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { type BashGuest, bootBash } from "../../fixtures/vm/bash.mjs";
import type { Damage, ShellCommand } from "../../src/linux/index.js";

for (const kind of ["amd64", "amd64-612"] as const) {
  describe(`a guest with a shell: ${kind}`, () => {
    let guest: BashGuest;
    let machine: Machine;
    let commands: ShellCommand[];
    const damage: Damage[] = [];
    beforeAll(async () => {
      guest = await bootBash({ machine: kind, log: (line) => console.log(line) });
      machine = await open(guest.rawFile);
      const linux = await machine.linux();
      commands = await linux.bashHistory({ onDamage: (each) => damage.push(each) }).toArray();
    });
    afterAll(async () => {
      await machine?.close();
      await guest?.close();
    });

    it("has the commands, times and places of the shell's list as `history` printed them", () => {
      const printed = [...(guest.texts.get("history") ?? "").matchAll(/^ *(\d+) {2}(\d+) (.*)$/gm)].map(
        ([, number, time, command]) => [Number(number) - 1, Number(time), command],
      );
      expect(printed.length).toBeGreaterThan(7);
      const listed = commands.filter(({ index }) => index !== undefined);
      expect(listed.map(({ index, time, command }) => [index, time, command])).toEqual(printed);
      expect(new Set(commands.map(({ pid, comm }) => `${pid} ${comm}`))).toEqual(
        new Set([`${guest.texts.get("shell")?.trim()} bash`]),
      );
    });

    it("reads all of it without damage, and tells of no other process by default", () => {
      expect(damage).toEqual([]);
      expect(commands.every(({ partial }) => !partial)).toBe(true);
    });

    it("finds nothing in a process that is no such shell", async () => {
      const linux = await machine.linux();
      expect(await linux.bashHistory({ pid: 1 }).toArray()).toEqual([]);
    });
  });
}
