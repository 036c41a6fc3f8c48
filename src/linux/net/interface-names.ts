/**
 * Names of what network interfaces are.
 *
 * Facts: include/uapi/linux/if.h (`enum net_device_flags`, RFC 2863's operational states), include/uapi/linux/if_arp.h (ARPHRD_*),
 * include/uapi/linux/rtnetlink.h (`enum rt_scope_t`), include/uapi/linux/if_addr.h (IFA_F_*). All of them are part of the interface to
 * programs.
 */

export const IFF_UP = 0x1;
export const IFF_RUNNING = 0x40;
export const IFF_PROMISC = 0x100;
export const IFF_ALLMULTI = 0x200;
export const IFF_LOWER_UP = 0x1_0000;
export const IFF_DORMANT = 0x2_0000;

const FLAGS: readonly (readonly [number, string])[] = [
  [IFF_UP, "up"],
  [0x2, "broadcast"],
  [0x4, "debug"],
  [0x8, "loopback"],
  [0x10, "pointopoint"],
  [0x20, "notrailers"],
  [IFF_RUNNING, "running"],
  [0x80, "noarp"],
  [IFF_PROMISC, "promisc"],
  [IFF_ALLMULTI, "allmulti"],
  [0x400, "master"],
  [0x800, "slave"],
  [0x1000, "multicast"],
  [0x2000, "portsel"],
  [0x4000, "automedia"],
  [0x8000, "dynamic"],
  [IFF_LOWER_UP, "lower_up"],
  [IFF_DORMANT, "dormant"],
  [0x4_0000, "echo"],
];

/** Names of the flags that are set, in the order of their bits. */
export function interfaceFlagNames(flags: number): string[] {
  return FLAGS.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
}

const STATES = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"] as const;

/** An operational state as /sys/class/net/NAME/operstate has it. */
export function operationalState(state: number): string {
  return STATES[state] ?? String(state);
}

/** The operational states in which an interface can be used. */
export function isOperational(state: number): boolean {
  return state === 0 || state === 6;
}

const LINK_TYPES = new Map([
  [1, "ether"],
  [24, "ieee1394"],
  [32, "infiniband"],
  [280, "can"],
  [512, "ppp"],
  [768, "ipip"],
  [769, "ip6tnl"],
  [772, "loopback"],
  [776, "sit"],
  [778, "gre"],
  [801, "ieee802.11"],
  [803, "ieee802.11/radiotap"],
  [804, "ieee802.15.4"],
  [823, "ip6gre"],
  [824, "netlink"],
  [0xfffe, "none"],
]);

/** What addresses a link has (ARPHRD_*): "ether", "loopback"; its number for one that is not told apart. */
export function linkType(type: number): string {
  return LINK_TYPES.get(type) ?? String(type);
}

const SCOPES = new Map([
  [0, "global"],
  [200, "site"],
  [253, "link"],
  [254, "host"],
  [255, "nowhere"],
]);

/** The scope of an address as routes number it. */
export function scopeName(scope: number): string {
  return SCOPES.get(scope) ?? String(scope);
}
