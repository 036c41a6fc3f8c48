/** What a connector is to those who open targets by its name. */
import type { DumpNotes } from "../src/formats/index.js";
import type { Source } from "../src/io/index.js";

/**
 * What an option's value is: `size` is a number of bytes such as `64`, `0x40`, `16K`, `1M`, `2G`; `duration` a number of milliseconds,
 * such as `5`, `5ms`, `50us`, `2s`; `boolean or ranges` is text unless it is a boolean.
 */
export type OptionKind = "boolean" | "number" | "size" | "duration" | "string" | "boolean or ranges";

/** Option values after parsing. */
export type OptionValues = Readonly<Record<string, boolean | number | string | undefined>>;

/** A source of physical memory that also tells of its machine, as the notes of a dump do. */
export interface MachineSource extends Source {
  /** Asked once, when the machine is opened: registers are of that moment. */
  notes(): DumpNotes | Promise<DumpNotes>;
  /** What did not go as it should, and whoever reads has to know. */
  readonly warnings?: readonly string[];
  /** What was left out, or is not known, as it is with such a target. */
  readonly remarks?: readonly string[];
}

/** A source that says itself what its addresses are, where its connector can't know before it is open. */
export interface KindedSource extends Source {
  /** Instead of the connector's. */
  readonly kind: Connector["kind"];
}

/** A source of a live target that has gone for good once it says so: a process, a guest. (A device may come back.) */
export interface MortalSource extends Source {
  readonly isMortal: true;
}

/** Whether a source's target does not come back once it has gone. */
export function isMortal(source: Source): boolean {
  return (source as Partial<MortalSource>).isMortal === true;
}

/** A source of a live target that may stand still. */
export interface StillSource extends Source {
  /** Why nothing of it changes by itself now, behind its name: "is paused while it is read"; `undefined` while it may. */
  readonly still: string | undefined;
}

/** A source whose machine can be paused, so that what is read is of one moment. */
export interface FreezableSource extends Source {
  /** Pauses it. It goes on when the source is closed, or the program ends; one that was paused before stays so. Idempotent. */
  freeze(): Promise<void>;
  /** Lets it go on, if `freeze` paused it. */
  thaw(): Promise<void>;
}

/** A way to reach memory. */
export interface Connector {
  /**
   * What the source's addresses are: `file` (offsets of a file whose format is to be detected), `physical`, or
   * `virtual` (a process). A source may say another (`KindedSource`).
   */
  readonly kind: "file" | "physical" | "virtual";
  /** One line for people. */
  readonly about: string;
  /** Options by name; default none. */
  readonly options?: Readonly<Record<string, OptionKind>>;
  /** What kind options of any other name are, where the connector passes those on. Default: there are none. */
  readonly otherOptions?: OptionKind;
  /** Opens a target. @throws {ConnectorError} */
  open(target: string, options: OptionValues): Source | Promise<Source>;
}
