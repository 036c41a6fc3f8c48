/** Which sockets appeared, are gone, or are not what they were. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelSocket, listSockets, type SocketAddress } from "../net/socket.js";
import { type CompareOptions, compareLists, type Difference } from "./difference.js";
import { KernelPair } from "./pair.js";

/**
 * Sockets that appeared, are gone, or changed: their ends, state, queues, and who has them. A socket is known by its structure and
 * inode; in two boots, by its protocol, ends and path.
 */
export function diffSockets(
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions = {},
): IoSequence<Difference<KernelSocket>> {
  return IoSequence.of(before.memory.scheduler, socketsRoutine, before, after, options);
}

function* socketsRoutine(
  sink: Sink<Difference<KernelSocket>>,
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions,
): Routine<void> {
  const pair = yield* KernelPair.of(before, after, options);
  yield* socketsOf(sink, pair);
  pair.damage.end();
}

/** @internal */
export function* socketsOf(sink: Sink<Difference<KernelSocket>>, pair: KernelPair): Routine<void> {
  const [first, second] = yield* pair.read((kernel, options) => listSockets(kernel, options));
  const differences = compareLists(
    first,
    second,
    {
      kind: "socket",
      key: (socket) =>
        pair.sameBoot ? `${socket.address} ${socket.inode} ${socket.protocol}` : textOf(socket),
      what: textOf,
      pid: ({ owners }) => owners[0]?.pid,
      fields: (socket) => ({
        state: socket.state,
        local: endText(socket.local),
        remote: endText(socket.remote),
        path: socket.path,
        owners: [...new Set(socket.owners.map(({ pid }) => pid ?? -1))].sort((a, b) => a - b),
        ...(pair.sameBoot
          ? { peer: socket.peer, receiveQueue: socket.receiveQueue, sendQueue: socket.sendQueue }
          : { owners: [...new Set(socket.owners.map(({ comm }) => comm ?? "?"))].sort() }),
      }),
    },
    pair.options.onPart,
  );
  for (const each of differences) yield sink.emit(each);
}

function textOf({ protocol, local, remote, path, netlink, state }: KernelSocket): string {
  const ends = [endText(local), remote?.port === 0 ? null : endText(remote)].filter(
    (end) => typeof end === "string",
  );
  const link = netlink === null ? [] : [netlink.protocol, `port ${netlink.portid ?? "?"}`];
  const parts = [
    protocol ?? "?",
    ...link,
    ...(path === null || path === undefined ? [] : [path]),
    ends.join(" to "),
  ];
  if (state !== undefined && protocol?.startsWith("tcp") === true) parts.push(state);
  return parts.filter((part) => part !== "").join(" ");
}

function endText(end: SocketAddress | null | undefined): string | null | undefined {
  if (end === null || end === undefined) return end;
  return end.address.includes(":") ? `[${end.address}]:${end.port}` : `${end.address}:${end.port}`;
}
