/**
 * Names of netfilter's families and hooks.
 *
 * Facts: include/uapi/linux/netfilter.h (`NFPROTO_*`, `enum nf_inet_hooks`, `enum nf_dev_hooks`),
 * include/uapi/linux/netfilter_arp.h, netfilter_bridge.h, netfilter_decnet.h. All of them are part of the interface to programs.
 */

/** `NFPROTO_*`. */
export const NFPROTO = { inet: 1, ipv4: 2, arp: 3, netdev: 5, bridge: 7, ipv6: 10, decnet: 12 } as const;

/** A family of protocols: "inet" is IPv4 and IPv6 together, "netdev" a device. */
export type NetfilterFamily = keyof typeof NFPROTO;

const FAMILIES = new Map<number, NetfilterFamily>(
  (Object.entries(NFPROTO) as [NetfilterFamily, number][]).map(([name, number]) => [number, name]),
);

/** The name of a family; its number for one that has none here. */
export function netfilterFamily(family: number): string {
  return FAMILIES.get(family) ?? String(family);
}

const INET = ["prerouting", "input", "forward", "output", "postrouting", "ingress"] as const;
const HOOKS: Readonly<Record<NetfilterFamily, readonly string[]>> = {
  inet: INET,
  ipv4: INET,
  ipv6: INET,
  arp: ["input", "output", "forward"],
  // (NF_BR_BROUTING was used until 5.0.)
  bridge: [...INET.slice(0, 5), "brouting"],
  netdev: ["ingress", "egress"],
  decnet: [...INET.slice(0, 5), "hello", "route"],
};

/** The name of a hook, as `nft` writes it; its number for one that has none here. */
export function netfilterHook(family: string, hook: number): string {
  return HOOKS[family as NetfilterFamily]?.[hook] ?? String(hook);
}
