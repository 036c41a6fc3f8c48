/**
 * How much speaks for a place being a task: facts that have nothing to do with each other.
 *
 * Facts: include/uapi/linux/magic.h (STACK_END_MAGIC), include/linux/sched/task_stack.h (`end_of_stack`), include/linux/pid.h (`struct pid`),
 * kernel/sched/sched.h (the classes of the scheduler), include/linux/sched.h (PF_KTHREAD, PF_IDLE).
 */
import type { Routine } from "../../io/index.js";
import { decodeLatin1 } from "../../memory/text.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { int, record, word } from "../objects/record.js";
import type { Candidate } from "../scan/find-candidates.js";
import { ownAddress } from "../scan/own-address.js";
import { Verdict } from "../scan/verdict.js";
import { readTime } from "../time/clock.js";
import { SCANNED, type ScannedFields, type TaskPlaces } from "./task-layout.js";
import { MAX_PID } from "./task-shape.hot.js";

const PID = record("pid", { number: int("numbers[0].nr"), task: word("tasks[0].first") });

const CLASSES = ["stop", "dl", "rt", "fair", "ext", "idle"] as const;
const STACK_END = 0x57ac6e9d;
const KERNEL_THREAD = 0x20_0000;
/** SCHED_EXT is the last policy, and bits above it say more. */
const MAX_POLICY = 7;

/** A place with what speaks for it. @internal */
export interface Weighed {
  readonly physical: number;
  /** Virtual address: that to which its own lists lead, else in the linear map. */
  readonly address: bigint;
  readonly fields: ScannedFields;
  /** Whether its empty lists lead to itself, where it is; `undefined` if it has none. */
  readonly isOwn: boolean | undefined;
  readonly evidence: readonly string[];
  readonly against: readonly string[];
}

/** Independent facts of which a task needs some. */
const ENOUGH = 6;
/** And of those that chance doesn't make. */
const STRONG = 2;

/**
 * Weighs candidates; those of which too little holds are left out.
 *
 * @param linear Virtual less physical address in the linear map.
 * @param known  Addresses of tasks that lists have. @internal
 */
export function* weigh(
  data: KernelData,
  candidates: readonly Candidate[],
  places: TaskPlaces,
  linear: bigint,
  known: ReadonlySet<bigint>,
): Routine<Weighed[]> {
  const { memory, types } = data;
  const layout = SCANNED.on(types);
  const mask = 8 * memory.pointerSize;
  const classes = new Map<bigint, string>();
  for (const name of CLASSES) {
    const at = yield* symbolAddress(data, `${name}_sched_class`);
    if (at !== undefined) classes.set(at, name);
  }
  const { monotonic } = yield* readTime(data, () => {});
  const rows: Pick<Weighed, "physical" | "address" | "fields" | "isOwn">[] = [];
  for (const { physical, bytes } of candidates) {
    const mapped = BigInt.asUintN(mask, BigInt(physical) + linear);
    const own = yield* ownAddress(data, bytes, places.rings, physical, mapped);
    const address = typeof own === "bigint" ? own : mapped;
    const fields = layout.decode(bytes, 0, address);
    rows.push({ physical, address, fields, isOwn: own === undefined ? undefined : own !== false });
  }
  const addresses = new Set([...known, ...rows.map(({ address }) => address)]);
  const column = (of: (fields: ScannedFields) => bigint) =>
    BigUint64Array.from(rows, ({ fields }) => of(fields));
  const ends = yield* memory.gather(
    column(({ stack }) => stack),
    4,
  );
  const pids = yield* PID.on(types).read(
    memory,
    rows.map(({ fields }) => fields.numbers ?? 0n),
  );
  const found: Weighed[] = [];
  for (const [i, row] of rows.entries()) {
    const { fields, isOwn } = row;
    const verdict = new Verdict();
    verdict.strong(isOwn, "empty lists lead to itself");
    const end = ends.at(i);
    const stack = fields.stack === 0n || end === undefined ? undefined : u32(end) === STACK_END;
    verdict.strong(stack, "stack has its end mark");
    const name = classes.get(fields.schedClass);
    if (classes.size > 0) verdict.strong(name !== undefined, `scheduled by ${name ?? "no"} class`);
    // (Number 0 is in any memory that is empty.)
    const number = fields.pid === 0 ? undefined : pids[i]?.value?.number;
    verdict.strong(number === undefined ? undefined : number === fields.pid, "struct pid has its number");
    const kin = [fields.leader, fields.realParent].every((each) => addresses.has(each));
    verdict.strong(kin, "leader and parent are tasks");
    verdict.plain(fields.pid <= MAX_PID && fields.tgid <= MAX_PID, "numbers in range");
    const isSane = [fields.prio, fields.staticPrio, fields.normalPrio].every(
      (each) => each >= -1 && each <= 140,
    );
    verdict.plain(isSane && (fields.policy & 0xff_ffff) <= MAX_POLICY, "priorities in range");
    verdict.plain(/^[\x20-\x7e]+\0/.test(decodeLatin1(fields.comm, 0, fields.comm.length)), "name is text");
    const late = monotonic === undefined ? undefined : fields.start <= monotonic + SECOND;
    verdict.plain(late, "started before now");
    const isThread = (fields.flags & KERNEL_THREAD) !== 0;
    const used = fields.mm === 0n || (!isThread && fields.mm === fields.activeMm);
    verdict.plain(used, "mm as its flags have it");
    verdict.plain(fields.cred === fields.realCred ? true : undefined, "one struct cred");
    if (verdict.holds.length >= ENOUGH && verdict.strongs >= STRONG) {
      found.push({ ...row, evidence: verdict.holds, against: verdict.against });
    }
  }
  return found;
}

/** Ticks may lag behind. */
const SECOND = 1_000_000_000n;

function u32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
}
