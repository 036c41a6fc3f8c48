/** The CPUs that `info` shows, of every architecture. */
import { describe, expect, it } from "vitest";
import { type InfoFacts, infoText } from "../../cli/commands/info.js";

type Cpus = NonNullable<InfoFacts["cpus"]>;

function shown(cpus: Cpus): string[] {
  const text = infoText({ target: "file:dump", format: "elf-core", cpus, warnings: [] });
  return text.slice(text.indexOf("CPU  ")).trimEnd().split("\n");
}

describe("the table of CPUs names registers as the architecture does", () => {
  it.each<[string, Record<string, string>, string[]]>([
    ["x86-64", { rip: "0x1", rsp: "0x2", cr3: "0x3" }, ["CPU  CR3  RIP  RSP", "  0  0x3  0x1  0x2"]],
    ["x86-64 without CR3", { rip: "0x1", rsp: "0x2" }, ["CPU  CR3  RIP  RSP", "  0  ?    0x1  0x2"]],
    ["i386", { eip: "0x1", esp: "0x2", cr3: "0x3" }, ["CPU  CR3  EIP  ESP", "  0  0x3  0x1  0x2"]],
    ["arm64", { x0: "0x9", sp: "0x2", pc: "0x1", pstate: "0x5" }, ["CPU  PC   SP", "  0  0x1  0x2"]],
    ["ppc64", { r0: "0x9", r1: "0x2", nip: "0x1" }, ["CPU  NIP  R1", "  0  0x1  0x2"]],
    ["s390x", { psw_addr: "0x1", r15: "0x2", cr3: "0x7" }, ["CPU  PSW_ADDR  R15", "  0  0x1       0x2"]],
    ["none", {}, ["CPU  PC  SP", "  0  ?   ?"]],
  ])("%s", (_, registers, lines) => {
    expect(shown([{ cpu: 0, ...registers }])).toEqual(lines);
  });

  it("a CPU of which nothing is known has a row between the others", () => {
    const lines = shown([{ cpu: 0 }, { cpu: 1, pc: "0x1", sp: "0x2" }]);
    expect(lines).toEqual(["CPU  PC   SP", "  0  ?    ?", "  1  0x1  0x2"]);
  });
});

it("of a thousand CPUs some are shown, and the rest is counted", () => {
  const lines = shown(Array.from({ length: 1000 }, (_, cpu) => ({ cpu, pc: "0x1", sp: "0x2" })));
  expect(lines).toHaveLength(34);
  expect(lines.at(-2)).toBe(" 31  0x1  0x2");
  expect(lines.at(-1)).toBe("and 968 more CPUs (--json has them)");
});
