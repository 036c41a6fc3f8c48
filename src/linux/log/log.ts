/** The kernel's log (`dmesg`), of whichever form its kernel has. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { needSymbol, symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { TypesError, type TypeTable } from "../types/type-table.js";
import { logBufferLayout, MAX_LOG_BUFFER, readLogBuffer } from "./log-buffer.js";
import { LogLayout } from "./log-layout.js";
import type { LogRecord } from "./log-record.js";
import { readPrintkRing, ringAddress } from "./printk-ring.js";

/**
 * The kernel's log, the oldest record first. Needs no types: VMCOREINFO says where everything is.
 *
 * @throws {SymbolError} `NO_SYMBOL` if nothing says where the log is.
 */
export function listLog(kernel: LinuxKernel, options: DamageOptions = {}): IoSequence<LogRecord> {
  return IoSequence.of(kernel.memory.scheduler, logRoutine, kernel, options);
}

function* logRoutine(sink: Sink<LogRecord>, kernel: LinuxKernel, options: DamageOptions): Routine<void> {
  const log = new DamageLog(options);
  yield* readLog(sink, kernel, log.report);
  log.end();
}

function* readLog(sink: Sink<LogRecord>, kernel: LinuxKernel, report: OnDamage): Routine<void> {
  const ring = yield* symbolAddress({ kernel }, "prb");
  const layout = new LogLayout(
    kernel,
    yield* typesIfNeeded(kernel, ring === undefined ? "printk_log" : "printk_info"),
  );
  if (ring === undefined) {
    for (const record of yield* readOlder(kernel, layout, report)) yield sink.emit(record);
    return;
  }
  const at = yield* ringAddress(kernel.memory, ring, report);
  if (at !== undefined) yield* readPrintkRing(sink, kernel.memory, layout, at, report);
}

/** Types are read only where VMCOREINFO lacks the layout. */
function* typesIfNeeded(kernel: LinuxKernel, struct: string): Routine<TypeTable | undefined> {
  if (kernel.vmcoreinfo.sizes.has(struct)) return undefined;
  try {
    return yield* kernel.loadTypes();
  } catch (error) {
    if (error instanceof TypesError) return undefined;
    throw error;
  }
}

/** Before 5.10: a buffer, and variables with the places in it. */
function* readOlder(kernel: LinuxKernel, layout: LogLayout, report: OnDamage): Routine<LogRecord[]> {
  const { memory } = kernel;
  const pointer = yield* needSymbol({ kernel }, "prb", "log_buf");
  const buffer = yield* pointersAt(memory, pointer, 1);
  if (typeof buffer === "number") {
    report(damage("the kernel's log", pointer, "unreadable", buffer));
    return [];
  }
  const numbers: number[] = [];
  for (const name of ["log_buf_len", "log_first_idx", "log_next_idx"]) {
    const at = yield* needSymbol({ kernel }, name);
    const { bytes, holes } = yield* memory.readPartial(at, 4);
    if (holes[0] !== undefined) {
      report(damage("the kernel's log", at, "unreadable", holes[0].fault));
      return [];
    }
    numbers.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, memory.littleEndian));
  }
  const [size = 0, first = 0, next = 0] = numbers;
  if (size > MAX_LOG_BUFFER || first >= size || next > size) {
    report(
      damage(
        "the kernel's log",
        pointer,
        "invalid",
        0,
        `places ${first} and ${next} in ${size} bytes can't be`,
      ),
    );
    return [];
  }
  const places = { buffer: buffer[0] as bigint, size, first, next };
  return yield* readLogBuffer(memory, logBufferLayout(layout), places, report);
}
