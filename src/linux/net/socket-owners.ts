/**
 * The other way to a kernel's sockets: through the files that processes have open. It tells who has a socket, and finds those
 * that are in no table.
 *
 * Facts: net/socket.c (`socket_file_ops`, `sock_close`, `sock_from_file`), include/linux/net.h (`struct socket`), include/net/sock.h
 * (`struct socket_alloc`, `SOCK_INODE`).
 */
import type { Routine } from "../../io/index.js";
import { type FileHolder, fileHolders } from "../files/file-holders.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { record, word } from "../objects/record.js";
import type { Task } from "../tasks/task.js";

const FILE = record("file", { operations: word("f_op"), socket: word("private_data") });
const OPERATIONS = record("file_operations", { release: word("release") });
const SOCKET = record("socket", { sock: word("sk") });

/** A process that has a socket open. */
export type SocketOwner = FileHolder;

/** A socket that is open, with its `struct sock`. */
export interface OpenSocket {
  /** Address of its `struct socket`. */
  readonly socket: bigint;
  /** Address of its `struct sock`; 0n once it is released. */
  readonly sock: bigint;
  readonly owners: SocketOwner[];
}

/** The sockets among the open files of these processes, those of each process's first thread. */
export function* openSockets(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<OpenSocket[]> {
  // Of a kernel that lists functions only, those operations are sockets' that close with the function for them.
  const variable = yield* symbolAddress(data, "socket_file_ops");
  const closing = yield* symbolAddress(data, "sock_close");
  if (variable === undefined && closing === undefined) {
    // The tables still have what they have.
    const more = "no symbol socket_file_ops: who has which socket open is not known (--symbols FILE)";
    report(damage("owners of sockets", 0n, "invalid", 0, more));
    return [];
  }
  const byFile = yield* fileHolders(data, tasks, report);
  const pointers = [...byFile.keys()];
  const files = yield* readEach(data, FILE, pointers, "a file", report);
  const unnamed = variable === undefined ? files.map((file) => file?.operations) : [];
  const released = yield* readEach(data, OPERATIONS, unnamed, "file_operations", report);
  const bySocket = new Map<bigint, SocketOwner[]>();
  for (const [i, file] of files.entries()) {
    const isSocket =
      variable === undefined ? released[i]?.release === closing : file?.operations === variable;
    if (file?.socket === undefined || !isSocket) continue;
    const owners = bySocket.get(file.socket) ?? [];
    for (const owner of byFile.get(pointers[i] as bigint) ?? []) owners.push(owner);
    bySocket.set(file.socket, owners);
  }
  const sockets = [...bySocket];
  const rows = yield* readEach(
    data,
    SOCKET,
    sockets.map(([socket]) => socket),
    "a socket",
    report,
  );
  return sockets.flatMap(([socket, owners], i) => {
    const sock = rows[i]?.sock;
    return sock === undefined ? [] : [{ socket, sock, owners }];
  });
}
