/**
 * Faults: why bytes could not be transferred, as one small integer.
 *
 * A fault is data, not an exception: layers pass it along with a range and nothing is allocated.
 * Four fields as in mfio (code, subject, state, location) and a detail whose meaning the state decides.
 * An `Error` is made of it only where one is thrown (see `errors.ts`).
 */

/** A fault packed in one non-negative integer below 2^30; 0 means "no fault". */
export type Fault = number;

/** HTTP-like class of a fault: who should do something about it. */
export const FAULT_CODES = [
  "none",
  "bad-request",
  "forbidden",
  "not-found",
  "conflict",
  "gone",
  "unprocessable",
  "cancelled",
  "internal",
  "not-implemented",
  "unavailable",
  "timeout",
] as const;
/** One of {@link FAULT_CODES}. */
export type FaultCode = (typeof FAULT_CODES)[number];

/** What the fault is about. */
export const FAULT_SUBJECTS = [
  "none",
  "address",
  "page",
  "page-table",
  "view",
  "packet",
  "file",
  "process",
  "memory",
  "device",
  "stream",
  "dump",
  "codec",
  "request",
] as const;
/** One of {@link FAULT_SUBJECTS}. */
export type FaultSubject = (typeof FAULT_SUBJECTS)[number];

/** What state that subject was found in. */
export const FAULT_STATES = [
  "none",
  /** No RAM at this physical address; no such address in this space; past the end of a file or stream. */
  "outside",
  /** RAM, but the dump left the page out; the detail says which filter, where the format tells. */
  "excluded",
  /** A page-table entry says so; the detail holds its level (1 is the last table, counting up to the root). */
  "not-present",
  /** Not present, and the entry names a swap slot or a migration target. */
  "swapped",
  /** A page-table page could not be read; the detail holds its level and the state of that read. */
  "table-missing",
  /** No such virtual address in this paging mode. */
  "non-canonical",
  /** Reserved bits, a loop, an impossible size, data that do not decode. */
  "malformed",
  /** A write where none is allowed. */
  "read-only",
  /** The connector failed; the detail holds an errno where there is one, from `DEVICE_CODE` on what a device says. */
  "io",
  /** The target vanished. */
  "gone",
  /** A layer dropped a view: a bug, reported as a failure. */
  "unanswered",
  /** An abort signal. */
  "aborted",
  /** The layer cannot do this at all: an exchange, a codec that is not there. */
  "unsupported",
] as const;
/** One of {@link FAULT_STATES}. */
export type FaultState = Exclude<(typeof FAULT_STATES)[number], "none">;

/** Which layer found it. */
export const FAULT_LOCATIONS = [
  "none",
  "core",
  "memory",
  "paging",
  "format",
  "codec",
  "backend",
  "connector",
  "target",
  "application",
] as const;
/** One of {@link FAULT_LOCATIONS}. */
export type FaultLocation = (typeof FAULT_LOCATIONS)[number];

/** The fields of a fault, by name. */
export interface FaultFields {
  readonly code: FaultCode;
  readonly subject: FaultSubject;
  readonly state: FaultState;
  readonly location: FaultLocation;
  /** 0 to 1023; see the helpers below for what it means in each state. */
  readonly detail: number;
}

const CODE_OF_STATE: Record<FaultState, FaultCode> = {
  outside: "not-found",
  excluded: "not-found",
  "not-present": "not-found",
  swapped: "not-found",
  "table-missing": "not-found",
  "non-canonical": "bad-request",
  malformed: "unprocessable",
  "read-only": "forbidden",
  io: "internal",
  gone: "gone",
  unanswered: "internal",
  aborted: "cancelled",
  unsupported: "not-implemented",
};

// Layout: state 0..4, subject 5..9, location 10..14, code 15..19, detail 20..29.
const MASK = 31;
const DETAIL_SHIFT = 20;

/**
 * Packs a fault.
 *
 * @param detail 0 to 1023, meaning by state (page-table level, errno, filter).
 * @param code   By default the one that fits the state.
 */
export function fault(
  state: FaultState,
  subject: FaultSubject,
  location: FaultLocation,
  detail = 0,
  code: FaultCode = CODE_OF_STATE[state],
): Fault {
  return (
    FAULT_STATES.indexOf(state) |
    (FAULT_SUBJECTS.indexOf(subject) << 5) |
    (FAULT_LOCATIONS.indexOf(location) << 10) |
    (FAULT_CODES.indexOf(code) << 15) |
    ((detail & 1023) << DETAIL_SHIFT)
  );
}

/** The fields of a packed fault; unknown values read as "none" (state: "malformed"). */
export function faultFields(packed: Fault): FaultFields {
  return {
    code: FAULT_CODES[(packed >>> 15) & MASK] ?? "none",
    subject: FAULT_SUBJECTS[(packed >>> 5) & MASK] ?? "none",
    state: faultState(packed),
    location: FAULT_LOCATIONS[(packed >>> 10) & MASK] ?? "none",
    detail: faultDetail(packed),
  };
}

/** The state of a fault, the one field that most callers want. */
export function faultState(packed: Fault): FaultState {
  const state = FAULT_STATES[packed & MASK];
  return state === undefined || state === "none" ? "malformed" : state;
}

/** The detail of a fault, 0 to 1023. */
export function faultDetail(packed: Fault): number {
  return (packed >>> DETAIL_SHIFT) & 1023;
}

/** Details of `io` faults from here on are no errno, but this and a number that the connector's device gave. */
export const DEVICE_CODE = 512;

/** The same fault with another detail. */
export function withDetail(packed: Fault, detail: number): Fault {
  return (packed & ((1 << DETAIL_SHIFT) - 1)) | ((detail & 1023) << DETAIL_SHIFT);
}

/** A detail for paging faults: the level of the entry or table, and for `table-missing` the fault of its read. */
export function levelDetail(level: number, cause: Fault = 0): number {
  return (level & 7) | ((cause & MASK) << 3);
}

/** The page-table level in a paging fault's detail (1 is the last table), and what made a table unreadable. */
export function levelOf(packed: Fault): { level: number; cause: FaultState | undefined } {
  const detail = faultDetail(packed);
  const cause = (detail >>> 3) & MASK;
  return { level: detail & 7, cause: cause === 0 ? undefined : faultState(cause) };
}

/**
 * Why a dump has no bytes for a page that was RAM; the detail of an `excluded` fault.
 *
 * `zero`, `cache`, `user`, `free`: the filter left it out. `or outside`: the format can't tell it from what is no RAM.
 * `truncated`: the file ends before it. `incomplete`: whoever wrote the dump stopped before it. `other file`: it is in
 * another file of a dump that was split. `not recorded`: nobody read it while a recording was made.
 */
export const EXCLUDED_REASONS = [
  "unknown",
  "zero",
  "cache",
  "user",
  "free",
  "or outside",
  "truncated",
  "incomplete",
  "other file",
  "not recorded",
] as const;
/** One of {@link EXCLUDED_REASONS}. */
export type ExcludedReason = (typeof EXCLUDED_REASONS)[number];

/** mfio's sentence for a fault: "{code}: {subject} in {state} state at {location}". */
export function describeFault(packed: Fault): string {
  if (packed === 0) return "no fault";
  const { code, subject, state, location, detail } = faultFields(packed);
  const text = `${code}: ${subject} in ${state} state at ${location}`;
  if (location === "paging" && detail !== 0) {
    const { level, cause } = levelOf(packed);
    return `${text} (level ${level}${cause === undefined ? "" : `, table is ${cause}`})`;
  }
  if (state === "excluded") return detail === 0 ? text : `${text} (${EXCLUDED_REASONS[detail] ?? "unknown"})`;
  return detail === 0 ? text : `${text} (${detail})`;
}

/** Subjects of `gone` faults that are about all of a target: a file may have been cut, and the rest of it is still there. */
const WHOLE: readonly FaultSubject[] = ["process", "device", "stream"];
const GONE_STATE = FAULT_STATES.indexOf("gone");

/** Whether a fault says that the target as a whole has vanished, for good. @internal */
export function isTargetGone(packed: Fault): boolean {
  return (packed & MASK) === GONE_STATE && WHOLE.includes(FAULT_SUBJECTS[(packed >>> 5) & MASK] ?? "none");
}

/** No such address: mfio's `Address, Outside, Backend`. */
export const OUTSIDE: Fault = fault("outside", "address", "backend");
/** A layer dropped a view, or a connector set no status. */
export const UNANSWERED: Fault = fault("unanswered", "view", "core");
/** The caller's abort signal fired before the bytes were sent. */
export const ABORTED: Fault = fault("aborted", "request", "core");
/** The source or layer is closed. */
export const CLOSED: Fault = fault("gone", "device", "core");
/** A write or exchange to something that only reads. */
export const READ_ONLY: Fault = fault("read-only", "memory", "core");
/** An exchange where the source can't do one atomically. */
export const NO_EXCHANGE: Fault = fault("unsupported", "request", "core");
/** The end of a stream: `outside`, told apart by its subject. */
export const END_OF_STREAM: Fault = fault("outside", "stream", "backend");
