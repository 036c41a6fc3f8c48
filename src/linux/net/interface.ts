/**
 * Network interfaces of every network namespace: what `ip address` shows, and what receives their packets.
 *
 * Facts: include/linux/netdevice.h (`struct net_device`, `enum netdev_state_t`, `netif_running`, `netif_oper_up`), net/core/dev.c
 * (`dev_get_flags`: which flags programs are told), net/core/net-sysfs.c (`operstate_show`), include/net/rtnetlink.h.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, nameOfFunction } from "../kernel-data.js";
import { CodeOwners } from "../modules/code-owner.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { DisjointLists } from "../objects/list.js";
import { readEach } from "../objects/read-each.js";
import { int, maybe, offsetOf, place, type Row, record, text, type Values, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { type InterfaceAddress, readAddresses4, readAddresses6 } from "./interface-addresses.js";
import {
  IFF_ALLMULTI,
  IFF_DORMANT,
  IFF_LOWER_UP,
  IFF_PROMISC,
  IFF_RUNNING,
  interfaceFlagNames,
  isOperational,
  linkType,
  operationalState,
} from "./interface-names.js";
import { needNetworkNamespaces } from "./net-namespaces.js";

const NET = record("net", { inode: int("ns.inum", "proc_inum"), devices: place("dev_base_head") });
const FIELDS = {
  name: text("name"),
  index: int("ifindex"),
  type: int("type"),
  flags: int("flags"),
  // What programs asked for, where `flags` has what the device does.
  asked: int("gflags"),
  state: word("state"),
  operational: int("operstate"),
  mtu: int("mtu"),
  hardware: word("dev_addr"),
  hardwareLength: int("addr_len"),
  promiscuity: int("promiscuity"),
  four: maybe(word("ip_ptr")),
  six: maybe(word("ip6_ptr")),
  links: maybe(word("rtnl_link_ops")),
  operations: word("netdev_ops"),
  receiver: maybe(word("rx_handler")),
} as const;
const DEVICE = record("net_device", FIELDS);
const LINKS = record("rtnl_link_ops", { kind: word("kind") });

/** Bits of `state`. */
const LINK_STATE_START = 1n << 0n;
const LINK_STATE_NOCARRIER = 1n << 2n;
const LINK_STATE_DORMANT = 1n << 4n;
/** Bytes of a link's address (MAX_ADDR_LEN). */
const MAX_HARDWARE = 32;
/** Longest name of a kind of link. */
const MAX_KIND = 64;

/** A network interface. What could not be read of it is `undefined`; what it has not is null. */
export interface NetworkInterface {
  /** Address of its `struct net_device`. */
  readonly address: bigint;
  /** Inode number of its network namespace. */
  readonly namespace: number | undefined;
  readonly index: number | undefined;
  readonly name: string | undefined;
  /** "ether", "loopback" …: what `ip link` has behind "link/". */
  readonly type: string | undefined;
  /** The kind of a link that programs can make: "veth", "bridge", "dummy"; null for others, such as network cards. */
  readonly kind: string | null | undefined;
  /** IFF_* as programs are told them. */
  readonly flags: number | undefined;
  /** Their names, such as "up". */
  readonly flagNames: readonly string[] | undefined;
  /** "up", "down", "unknown" …: as /sys/class/net/NAME/operstate has it. */
  readonly state: string | undefined;
  /** Bytes that a packet may have. */
  readonly mtu: number | undefined;
  /** Its link's address, such as "52:54:00:12:34:56"; null if it has none. */
  readonly hardware: string | null | undefined;
  /**
   * How many want every packet of the link, others' too. (Programs are told a flag only where one of them set that; of those that
   * listen by a packet socket they are not.)
   */
  readonly promiscuity: number | undefined;
  readonly addresses: readonly InterfaceAddress[];
  /** Symbol of its operations (`netdev_ops`); `undefined` also if no symbol is there. */
  readonly operations: string | undefined;
  /** The function that takes its packets before the protocols do, such as a bridge's; null for none. */
  readonly receiver: string | null | undefined;
  /** Whose code that function is: a module's name, null for the kernel's own or none; `undefined` if no module that is listed owns it. */
  readonly receiverModule: string | null | undefined;
}

/** Network interfaces, by namespace, in the kernel's order. */
export function listInterfaces(
  kernel: LinuxKernel,
  options: DamageOptions = {},
): IoSequence<NetworkInterface> {
  return IoSequence.of(kernel.memory.scheduler, interfacesRoutine, kernel, options);
}

function* interfacesRoutine(
  sink: Sink<NetworkInterface>,
  kernel: LinuxKernel,
  options: DamageOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const { memory, types } = data;
  const owners = yield* CodeOwners.read(data, log.report);
  const nets = yield* needNetworkNamespaces(data, log.report);
  const offset = BigInt(offsetOf(types, "net_device", "dev_list"));
  const lists = new DisjointLists(memory, "the list of network devices", log.report);
  for (const { address, partial, fault } of yield* NET.on(types).read(memory, nets)) {
    if (fault !== 0) log.report(damage("a network namespace", address, "unreadable", fault));
    const head = partial.devices as bigint;
    const nodes = yield* lists.walk(head);
    const own = nodes.map((node) => node - offset);
    for (const found of yield* readInterfaces(data, own, partial.inode, owners, log.report)) {
      yield sink.emit(found);
    }
  }
  log.end();
}

function* readInterfaces(
  data: KernelData,
  devices: readonly bigint[],
  namespace: number | undefined,
  owners: CodeOwners,
  report: OnDamage,
): Routine<NetworkInterface[]> {
  const { memory, types } = data;
  const rows = yield* DEVICE.on(types).read(memory, devices);
  for (const { address, fault } of rows) {
    if (fault !== 0) report(damage("a network device", address, "unreadable", fault));
  }
  const of = (name: "four" | "six" | "links") => rows.map(({ partial }) => partial[name]);
  const four = yield* readAddresses4(data, of("four"), report);
  const six = yield* readAddresses6(data, of("six"), report);
  const links = yield* readEach(data, LINKS, of("links"), "an rtnl_link_ops", report);
  const kinds = yield* readStrings(
    memory,
    links.map((each) => each?.kind),
    "the kind of a network device",
    report,
    MAX_KIND,
  );
  const found: NetworkInterface[] = [];
  for (const [i, row] of rows.entries()) {
    const { address, partial } = row;
    const { operations, receiver } = partial;
    const flags = flagsOf(row);
    found.push({
      address,
      namespace,
      index: partial.index,
      name: partial.name,
      type: partial.type === undefined ? undefined : linkType(partial.type),
      kind: partial.links === 0n ? null : kinds[i],
      flags,
      flagNames: flags === undefined ? undefined : interfaceFlagNames(flags),
      state: stateOf(row),
      mtu: partial.mtu,
      hardware: yield* readHardware(data, row, report),
      promiscuity: partial.promiscuity,
      addresses: [...(four[i] ?? []), ...(six[i] ?? [])],
      operations: operations === undefined ? undefined : yield* nameOfFunction(data, operations),
      receiver:
        receiver === 0n ? null : receiver === undefined ? undefined : yield* nameOfFunction(data, receiver),
      receiverModule:
        receiver === 0n ? null : receiver === undefined ? undefined : yield* owners.of(receiver),
    });
  }
  return found;
}

/** The flags as programs are told them. */
function flagsOf({ value }: Row<Values<typeof FIELDS>>): number | undefined {
  if (value === undefined) return undefined;
  const { flags, asked, state, operational } = value;
  let told = flags & ~(IFF_PROMISC | IFF_ALLMULTI | IFF_RUNNING | IFF_LOWER_UP | IFF_DORMANT);
  told |= asked & (IFF_PROMISC | IFF_ALLMULTI);
  if ((state & LINK_STATE_START) === 0n) return told;
  if (isOperational(operational)) told |= IFF_RUNNING;
  if ((state & LINK_STATE_NOCARRIER) === 0n) told |= IFF_LOWER_UP;
  if ((state & LINK_STATE_DORMANT) !== 0n) told |= IFF_DORMANT;
  return told;
}

/** What programs are told of its state: one that is not running is down whatever it says. */
function stateOf({ partial: { state, operational } }: Row<Values<typeof FIELDS>>): string | undefined {
  if (state === undefined || operational === undefined) return undefined;
  return (state & LINK_STATE_START) === 0n ? "down" : operationalState(operational);
}

function* readHardware(
  { memory }: KernelData,
  { partial: { hardware, hardwareLength } }: Row<Values<typeof FIELDS>>,
  report: OnDamage,
): Routine<string | null | undefined> {
  if (hardware === undefined || hardwareLength === undefined) return undefined;
  if (hardwareLength === 0) return null;
  const length = Math.min(hardwareLength, MAX_HARDWARE);
  const { bytes, holes } = yield* memory.readPartial(hardware, length);
  const hole = holes[0];
  if (hole !== undefined) {
    report(damage("the address of a link", hardware, "unreadable", hole.fault));
    return undefined;
  }
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
