/**
 * Whose monitor answers: a path or a port may lead to another process than the one that is meant (a file that was made anew, a
 * container with paths and ports of its own).
 *
 * The system tells no peer of a connection, but it lists every process's sockets: the one that QEMU accepted is among them.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Qmp } from "./qmp.js";

/** Taken before a connection is made. */
export class SocketsBefore {
  readonly #pid: number;
  readonly #connected: ReadonlySet<string>;

  /** @throws what Node throws where the process's sockets can't be seen. */
  constructor(pid: number) {
    this.#pid = pid;
    this.#connected = connectedSockets(pid);
  }

  /**
   * Whether a connection that was made since leads to the process: by its ports, or, where it has none, by a socket with a path that
   * was accepted since.
   */
  hasPeerOf(connection: Qmp): boolean {
    const { ports } = connection;
    if (ports !== undefined) return hasTcpPeer(this.#pid, ports.local, ports.remote);
    return [...connectedSockets(this.#pid)].some((inode) => !this.#connected.has(inode));
  }
}

/** Inodes of the process's sockets. */
function socketsOf(pid: number): Set<string> {
  const folder = `/proc/${pid}/fd`;
  const inodes = new Set<string>();
  for (const fd of readdirSync(folder)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`${folder}/${fd}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // (Closed meanwhile.)
    }
  }
  return inodes;
}

/** `SS_CONNECTED` (linux/net.h), as the list writes it. */
const CONNECTED = "03";

/** Of its UNIX sockets, those that were accepted: they are connected, and have the path that was listened on. */
function connectedSockets(pid: number): Set<string> {
  const own = socketsOf(pid);
  return new Set(
    listUnix(pid).flatMap(({ inode, state }) => (state === CONNECTED && own.has(inode) ? [inode] : [])),
  );
}

interface UnixSocket {
  readonly inode: string;
  readonly state: string;
  readonly path: string;
}

/** UNIX sockets that have a path, of all processes in the same network as this one (proc_pid_net(5)). */
function listUnix(pid: number): UnixSocket[] {
  return readFileSync(`/proc/${pid}/net/unix`, "utf8")
    .split("\n")
    .flatMap((line) => {
      const match = /^\S+ \S+ \S+ \S+ \S+ (\S+) +(\d+) (.+)$/.exec(line);
      const [, state = "", inode = "", path = ""] = match ?? [];
      return match === null ? [] : [{ inode, state, path }];
    });
}

/** Paths of the UNIX sockets that a process has, as it gave them. */
export function socketPaths(pid: number): string[] {
  try {
    const own = socketsOf(pid);
    return listUnix(pid).flatMap(({ inode, path }) => (own.has(inode) ? [path] : []));
  } catch {
    return [];
  }
}

/** Whether the other end of a TCP connection is one of the process's sockets (/proc/PID/net/tcp: addresses, state, …, inode). */
function hasTcpPeer(pid: number, local: number, remote: number): boolean {
  const own = socketsOf(pid);
  const port = (number: number) => number.toString(16).toUpperCase().padStart(4, "0");
  return ["tcp", "tcp6"].some((kind) => {
    let text: string;
    try {
      text = readFileSync(`/proc/${pid}/net/${kind}`, "latin1");
    } catch {
      // (A system without IPv6 has no such list.)
      return false;
    }
    return text.split("\n").some((line) => {
      const [, its = "", ours = "", , , , , , , inode = ""] = line.trim().split(/\s+/);
      return its.endsWith(`:${port(remote)}`) && ours.endsWith(`:${port(local)}`) && own.has(inode);
    });
  });
}
