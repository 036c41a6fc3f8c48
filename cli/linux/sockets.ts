import { type KernelSocket, listSockets, type SocketAddress } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { exact } from "./files.js";
import { DamageSummary, type ListColumn, type ListValue, showList } from "./listing.js";
import { scannedSockets } from "./sockets-scan.js";

/** Of every list of sockets. */
export const COLUMNS: readonly ListColumn<KernelSocket>[] = [
  { field: "protocol", title: "PROTO", value: (socket) => socket.protocol },
  { field: "family", title: "FAMILY", value: (socket) => socket.family },
  { field: "type", title: "TYPE", value: (socket) => socket.type },
  { field: "protocolNumber", type: "integer", value: (socket) => socket.protocolNumber },
  { field: "state", title: "STATE", value: (socket) => socket.state },
  { field: "local", type: "json", title: "LOCAL", value: (socket) => end(socket.local), cell: localText },
  { field: "remote", type: "json", title: "REMOTE", value: (socket) => end(socket.remote), cell: remoteText },
  { field: "path", value: (socket) => socket.path },
  { field: "peer", type: "address", value: (socket) => socket.peer },
  {
    field: "receiveQueue",
    type: "integer",
    title: "RECV",
    right: true,
    value: (socket) => socket.receiveQueue,
  },
  { field: "sendQueue", type: "integer", title: "SEND", right: true, value: (socket) => socket.sendQueue },
  { field: "uid", type: "integer", title: "UID", right: true, value: (socket) => socket.uid },
  { field: "inode", type: "unsigned", title: "INODE", right: true, value: inodeOf, cell: inodeText },
  { field: "device", type: "integer", value: (socket) => socket.device },
  { field: "namespace", type: "integer", title: "NETNS", right: true, value: (socket) => socket.namespace },
  { field: "netlink", type: "json", value: ({ netlink }) => (netlink === null ? null : { ...netlink }) },
  { field: "etherType", type: "integer", value: (socket) => socket.etherType },
  {
    field: "owners",
    type: "json",
    title: "OWNERS",
    value: ({ owners }) => owners.map((each) => ({ ...each })),
    cell: ownersText,
  },
  { field: "seen", type: "json", value: (socket) => socket.seen },
  { field: "sock", type: "address", title: "SOCK", value: (socket) => socket.address },
];

/** `memtool sockets`. */
export const SOCKETS: KernelCommand = {
  name: "sockets",
  description: "sockets of every network namespace, by the kernel's tables and by processes' open files",
  options: [
    [
      "--scan",
      "every socket that lies in memory, by what it looks like: hidden and closed ones too, and which tables miss them",
    ],
  ],
  examples: ["sockets", "sockets --pid 1", "sockets --scan"],
  ofProcess: true,
  run: async (context) => {
    if (context.options.scan === true) return await scannedSockets(context);
    const { session, kernel, pid } = context;
    const damage = new DamageSummary();
    const sockets = listSockets(kernel, { pid, onDamage: damage.add });
    return await showList(session, sockets, COLUMNS, damage, "no sockets");
  },
};

function end(address: SocketAddress | null | undefined): ListValue {
  return address === null || address === undefined ? address : { ...address };
}

function endText(address: SocketAddress | null | undefined): string | undefined {
  if (address === null || address === undefined) return address === null ? "" : undefined;
  const { address: host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What the socket's family has for an address of its own. */
function localText({ local, path, netlink, etherType, device }: KernelSocket): string | undefined {
  if (netlink !== null) return `${netlink.protocol}:${netlink.portid}`;
  if (etherType !== null) return `0x${etherType.toString(16).padStart(4, "0")}:${device ?? "?"}`;
  return path === null ? endText(local) : path;
}

function remoteText({ remote, peer }: KernelSocket): string | undefined {
  return typeof peer === "bigint" ? `0x${peer.toString(16)}` : endText(remote);
}

function inodeOf({ inode }: KernelSocket): ListValue {
  return inode === null ? null : exact(inode);
}

function inodeText({ inode }: KernelSocket): string | undefined {
  return inode === null ? "" : inode?.toString();
}

function ownersText({ owners }: KernelSocket): string {
  return owners.map(({ pid, comm, fd }) => `${pid ?? "?"}/${comm ?? "?"}:${fd}`).join(", ");
}
