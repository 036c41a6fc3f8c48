/** `memtool sockets --scan`. */
import { type ScannedSocket, type SocketStatus, scanSockets } from "../../src/linux/index.js";
import type { KernelContext } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";
import { evidenceColumns, StatusCounts } from "./scanned.js";
import { COLUMNS } from "./sockets.js";

/** What the table leaves out of a socket's own columns, for those of the scan. */
const FOR_PROGRAMS = new Set(["family", "type", "receiveQueue", "sendQueue", "uid", "namespace"]);

const columns = (): readonly ListColumn<ScannedSocket>[] => [
  ...COLUMNS.map((column): ListColumn<ScannedSocket> => {
    const { title, ...rest } = column;
    return FOR_PROGRAMS.has(column.field) ? rest : column;
  }),
  { field: "status", title: "STATUS", value: ({ status }) => status },
  { field: "physical", type: "address", value: ({ physical }) => BigInt(physical) },
  { field: "prot", value: ({ prot }) => prot },
  { field: "references", type: "integer", value: ({ references }) => references },
  { field: "cache", value: ({ cache }) => cache ?? null },
  ...evidenceColumns<ScannedSocket>(
    ({ status, evidence, missedBy }) => status === "listed" && evidence.length > 0 && missedBy.length === 0,
  ),
];

/** Shows every socket that the memory has. */
export async function scannedSockets({ session, kernel, pid }: KernelContext): Promise<number> {
  const damage = new DamageSummary();
  const onProgress = (done: number, total: number) => session.progress("looking for sockets", done, total);
  const shown: ScannedSocket[] = [];
  const counts = new StatusCounts(ORDER);
  for await (const socket of scanSockets(kernel, { onDamage: damage.add, onProgress })) {
    counts.add(socket.status);
    if (pid === undefined || socket.owners.some((owner) => owner.pid === pid)) shown.push(socket);
  }
  const none =
    pid === undefined
      ? "nothing in memory looks like a socket"
      : `nothing in memory looks like a socket that process ${pid} has open`;
  const status = await showList(session, shown, columns(), damage, none);
  counts.report(session, damage.count === 0);
  return status;
}

const ORDER: readonly SocketStatus[] = ["listed", "hidden", "kernel", "closed", "unsure", "freed", "copy"];
