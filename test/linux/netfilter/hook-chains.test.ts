/** Chains of nf_tables that hooks are: by what a hook says of itself (since 5.14), and by what is known without. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Io } from "../../../src/io/index.js";
import { type Damage, type LinuxKernel, listNetfilterHooks } from "../../../src/linux/index.js";
import { kernelData } from "../../../src/linux/kernel-data.js";
import { moduleTypesRoutine } from "../../../src/linux/modules/module-types.js";
import { type HookParts, readHookChains } from "../../../src/linux/netfilter/hook-chains.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import type { TypeTable } from "../../../src/linux/types/type-table.js";
import { handKernel } from "../../support/hand-kernel.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const WILD = 0xffff_dead_0000_0000n;
const NONE = { table: null, chain: null };
const UNKNOWN = { table: undefined, chain: undefined };

let told: Damage[];
beforeEach(() => {
  told = [];
});
const onDamage = (each: Damage) => told.push(each);
const reasons = () => told.map(({ what, reason }) => `${what}: ${reason}`);

describe("the chains of hooks of a real kernel", () => {
  let patched: PatchedKernel;
  let types: TypeTable;
  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    types = await Io.of(kernel.memory.scheduler, () => moduleTypesRoutine(kernel, "nf_tables"));
  });
  afterEach(() => patched.close());

  const list = () => listNetfilterHooks(patched.kernel, { onDamage }).toArray();
  const names = async () => (await list()).map(({ table, chain }) => ({ table, chain }));
  const first = { table: "memtool", chain: "input" };
  const other = { table: "memtool", chain: "inner-output" };
  const at = (base: bigint | undefined, struct: string, member: string) =>
    (base as bigint) + BigInt(offsetOf(types, struct, member));

  it("are named with their tables, and others' hooks have none", async () => {
    expect(await names()).toEqual([first, NONE, NONE, other, NONE, NONE]);
    expect(told).toEqual([]);
  });

  it("are named as far as they can be read, and the rest is told", async () => {
    const [hook, , , last] = await list();
    await patched.setPointer(at(hook?.priv, "nft_chain", "table"), WILD);
    await patched.setPointer(at(last?.priv, "nft_chain", "name"), WILD);
    const half = { ...first, table: undefined };
    expect(await names()).toEqual([half, NONE, NONE, { ...other, chain: undefined }, NONE, NONE]);
    expect(reasons()).toEqual(["an nft_table: unreadable", "the name of a chain: unreadable"]);
  });

  it("are not known of a hook that is given something else, which is told", async () => {
    const { address } = await patched.kernel.symbol("init_net");
    const head = at(address, "net", "nf.hooks_ipv4[1]");
    const array = new DataView((await patched.kernel.memory.read(head, 8)).buffer).getBigUint64(0, true);
    await patched.setPointer(at(array, "nf_hook_entries", "hooks[0].priv"), WILD);
    expect(await names()).toEqual([UNKNOWN, NONE, NONE, other, NONE, NONE]);
    expect(reasons()).toEqual(["an nft_base_chain: unreadable"]);
  });

  it("are not known where the module of the hooks is not listed, which is told", async () => {
    await patched.close();
    // (Types of modules are kept.)
    patched = await PatchedKernel.open(DUMP);
    const modules = await patched.kernel.symbol("modules");
    for (const link of [0n, 8n]) await patched.setPointer(modules.address + link, modules.address);
    expect(await names()).toEqual([UNKNOWN, NONE, NONE, UNKNOWN, NONE, NONE]);
    expect(reasons()).toEqual(["module nf_tables: unreadable"]);
  });
});

describe("the chains of hooks before 5.14, which do not say that they are some", () => {
  const NUMBER = "unsigned int";
  const FUNCTION = 0xffff_ffff_8100_0100n;
  let hand: HandTypes;
  let memory: HandMemory;
  let kernel: LinuxKernel;
  let base: bigint;
  let type: bigint;
  let chain: bigint;

  const at = (from: bigint, struct: string, path: string) => from + BigInt(hand.offset(struct, path));

  function textAt(text: string): bigint {
    const place = memory.take(text.length + 1);
    memory.bytes(place, new TextEncoder().encode(text));
    return place;
  }

  beforeEach(() => {
    hand = new HandTypes()
      .struct("nft_table", ["handle", "long unsigned int"], ["name", "char*"])
      .struct("nft_chain", ["table", "struct nft_table*"], ["name", "char*"])
      .struct("nft_chain_type", ["name", "char*"], ["hooks", "long unsigned int[6]"])
      .struct("nf_hook_ops", ["hook", "long unsigned int"], ["hooknum", NUMBER])
      .struct(
        "nft_base_chain",
        ["ops", "struct nf_hook_ops"],
        ["type", "struct nft_chain_type*"],
        ["chain", "struct nft_chain"],
      );
    memory = new HandMemory(hand);
    base = memory.take(64);
    type = memory.take(56);
    const table = memory.take(16);
    chain = at(base, "nft_base_chain", "chain");
    memory.put(at(base, "nft_base_chain", "ops.hooknum"), 3, 4);
    memory.put(at(base, "nft_base_chain", "type"), type);
    memory.put(at(type, "nft_chain_type", "hooks[3]"), FUNCTION);
    memory.put(at(chain, "nft_chain", "table"), table);
    memory.put(at(chain, "nft_chain", "name"), textAt("goes"));
    memory.put(at(table, "nft_table", "name"), textAt("mine"));
    kernel = handKernel(hand, memory, { variables: {} });
  });

  const NAMES = { table: "mine", chain: "goes" };
  const read = (...hooks: Partial<HookParts>[]) =>
    Io.of(kernel.memory.scheduler, function* () {
      const data = yield* kernelData(kernel);
      const whole = { handler: FUNCTION, priv: chain, module: null, type: undefined };
      return yield* readHookChains(
        data,
        hooks.map((hook) => ({ ...whole, ...hook })),
        onDamage,
      );
    });

  it("are those of which the chain's type has the hook's function, where nf_tables is built in", async () => {
    const others = [{ handler: FUNCTION + 16n }, { handler: undefined }, { priv: 0n }, { priv: WILD }];
    expect(await read({}, ...others, {})).toEqual([NAMES, NONE, UNKNOWN, NONE, NONE, NAMES]);
    expect(told).toEqual([]);
  });

  it("are none of another module, and none of nobody's code", async () => {
    expect(await read({ module: "iptable_filter" }, { module: undefined })).toEqual([NONE, NONE]);
  });

  it("are not known of hooks that can't be read, and of which nothing else tells", async () => {
    const lost = { handler: undefined, module: undefined, priv: undefined };
    const others = [{ handler: undefined }, { priv: undefined }, { ...lost, priv: 0n }];
    expect(await read(lost, ...others)).toEqual([UNKNOWN, UNKNOWN, UNKNOWN, NONE]);
    expect(await read(lost, {})).toEqual([UNKNOWN, NAMES]);
    expect(told).toEqual([]);
  });

  it("are none of types that can't be read, or of a hook that no type has", async () => {
    memory.put(at(base, "nft_base_chain", "ops.hooknum"), 0xffff_ffff, 4);
    expect(await read({})).toEqual([NONE]);
    memory.put(at(base, "nft_base_chain", "type"), WILD);
    expect(await read({})).toEqual([NONE]);
    expect(told).toEqual([]);
  });

  it("are those of the module's own functions, whatever these are; what can't be read is told", async () => {
    const module = "nf_tables";
    expect(await read({ module, handler: FUNCTION + 16n }, { module, priv: WILD })).toEqual([NAMES, UNKNOWN]);
    expect(reasons()).toEqual(["an nft_base_chain: unreadable"]);
  });

  it("are not known by structures that lack a member, as before 4.17, which is told of what must be a chain", async () => {
    hand.struct("nft_base_chain", ["ops", "struct nf_hook_ops[2]"], ["chain", "struct nft_chain"]);
    expect(await read({}, { module: "iptable_filter" })).toEqual([UNKNOWN, NONE]);
    expect(told).toEqual([]);
    expect(await read({ module: "nf_tables" }, { priv: 0n })).toEqual([UNKNOWN, NONE]);
    expect(reasons()).toEqual(["module nf_tables: invalid"]);
  });

  it("are those that say so since", async () => {
    hand.enumeration("nf_hook_ops_type", { NF_HOOK_OP_UNDEFINED: 0, NF_HOOK_OP_NF_TABLES: 1 });
    const others = [{ type: 0 }, { type: 2 }];
    expect(await read({ type: 1, module: undefined }, ...others)).toEqual([NAMES, NONE, NONE]);
  });
});
