import {
  DEVICE_CODE,
  EXCLUDED_REASONS,
  type Fault,
  type FaultState,
  faultDetail,
  faultFields,
  faultState,
  levelOf,
} from "../../src/io/index.js";

/** Why bytes could not be read, as `--json` says it. */
export interface HoleReason {
  readonly state: FaultState;
  /** Page-table level, 1 is the last table: of the entry that is not present, of the table that is missing. */
  readonly level?: number;
  /** What became of the read of that table. */
  readonly cause?: FaultState;
  /** Which filter left the page out of the dump. */
  readonly reason?: string;
  /** Of a read that the operating system refused. */
  readonly errno?: number;
  /** What a device gave as its reason, in its own numbers. */
  readonly code?: number;
}

/** The fields of a fault that say something. */
export function reasonOf(fault: Fault): HoleReason {
  const state = faultState(fault);
  const detail = faultDetail(fault);
  if (state === "excluded") {
    const reason = EXCLUDED_REASONS[detail];
    return reason === undefined || reason === "unknown" ? { state } : { state, reason };
  }
  if (faultFields(fault).location === "paging") {
    const { level, cause } = levelOf(fault);
    return { state, ...(level === 0 ? {} : { level }), ...(cause === undefined ? {} : { cause }) };
  }
  if (state !== "io" || detail === 0) return { state };
  return detail < DEVICE_CODE ? { state, errno: detail } : { state, code: detail - DEVICE_CODE };
}

/** In words: "not-present (level 1)". */
export function reasonText(reason: HoleReason): string {
  const more: string[] = [];
  if (reason.level !== undefined) more.push(`level ${reason.level}`);
  if (reason.cause !== undefined) more.push(`the table is ${reason.cause}`);
  if (reason.reason !== undefined) more.push(reason.reason);
  if (reason.errno !== undefined) more.push(`errno ${reason.errno}`);
  if (reason.code !== undefined) more.push(`code ${reason.code} of the device`);
  return more.length === 0 ? reason.state : `${reason.state} (${more.join(", ")})`;
}
