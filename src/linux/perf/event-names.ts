/**
 * Names of the kernel's own trace events: those of tracepoints, kprobes and uprobes.
 *
 * Facts: include/linux/trace_events.h (`trace_event_call`: its name, or a tracepoint, which has one), include/linux/tracepoint-defs.h.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { readEach } from "../objects/read-each.js";
import { record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";

const CALL = record("trace_event_call", { class: word("class"), name: word("name", "tp") });
const CLASS = record("trace_event_class", { system: word("system") });
const POINT = record("tracepoint", { name: word("name") });

const MAX_NAME = 256;
const WORD = /^[A-Za-z_][\w.]*$/;

/** "sched:sched_switch", of each address of a `trace_event_call`; `undefined` for 0n and where there is none. @internal */
export function* traceEventNames(
  data: KernelData,
  calls: readonly (bigint | undefined)[],
): Routine<(string | undefined)[]> {
  const { memory, types } = data;
  if (calls.every((call) => call === undefined || call === 0n) || CALL.onIf(types) === undefined) {
    return calls.map(() => undefined);
  }
  // (What leads nowhere is not this event's, whose own members are there.)
  const silent = () => {};
  const rows = yield* readEach(data, CALL, calls, "a trace_event_call", silent);
  const classes = yield* readEach(
    data,
    CLASS,
    rows.map((row) => row?.class),
    "a trace_event_class",
    silent,
  );
  const strings = (pointers: readonly (bigint | undefined)[]) =>
    readStrings(memory, pointers, "the name of an event", silent, MAX_NAME);
  const systems = yield* strings(classes.map((each) => each?.system));
  const direct = yield* strings(rows.map((row) => row?.name));
  const points = yield* readEach(
    data,
    POINT,
    rows.map((row) => row?.name),
    "a tracepoint",
    silent,
  );
  const named = yield* strings(points.map((point) => point?.name));
  return rows.map((_, i) => {
    // (Which of both it is, flags tell, whose places change from release to release; a pointer is no word.)
    const name = [direct[i], named[i]].find((each) => each !== undefined && WORD.test(each));
    const system = systems[i];
    return name === undefined ? undefined : system === undefined ? name : `${system}:${name}`;
  });
}
