/**
 * Framebuffers: the screens that the kernel's own console and programs without a graphics driver draw on.
 *
 * Facts: include/linux/fb.h (`struct fb_info`, FB_MAX), drivers/video/fbdev/core/fbmem.c (`registered_fb`, `num_registered_fb`), include/uapi/linux/fb.h
 * (`fb_fix_screeninfo`, `fb_var_screeninfo`, `fb_bitfield`).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData, needSymbol, symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, record, text, type Values, word } from "../objects/record.js";
import { TypesError } from "../types/type-table.js";

const INFO = record("fb_info", {
  node: int("node"),
  name: text("fix.id"),
  physical: word("fix.smem_start"),
  length: int("fix.smem_len"),
  lineLength: int("fix.line_length"),
  kind: int("fix.type"),
  visual: int("fix.visual"),
  width: int("var.xres"),
  height: int("var.yres"),
  virtualWidth: int("var.xres_virtual"),
  virtualHeight: int("var.yres_virtual"),
  left: int("var.xoffset"),
  top: int("var.yoffset"),
  bits: int("var.bits_per_pixel"),
  redOffset: int("var.red.offset"),
  redLength: int("var.red.length"),
  greenOffset: int("var.green.offset"),
  greenLength: int("var.green.length"),
  blueOffset: int("var.blue.offset"),
  blueLength: int("var.blue.length"),
  screen: word("screen_base", "screen_buffer"),
  screenSize: word("screen_size"),
});

/** FB_MAX. */
const MAX_FRAMEBUFFERS = 32;

/** Bits of a pixel that hold a colour. */
export interface ColourBits {
  /** From the lowest. */
  readonly offset: number;
  readonly length: number;
}

/** A framebuffer. What could not be read of it is `undefined`; `OnDamage` was told why. */
export interface Framebuffer {
  /** Address of its `struct fb_info`. */
  readonly address: bigint;
  /** Its number: 0 is /dev/fb0. */
  readonly number: number;
  /** What its driver calls it: "EFI VGA", "bochs-drmdrmfb". */
  readonly name: string | undefined;
  /** Pixels that are shown. */
  readonly width: number | undefined;
  readonly height: number | undefined;
  /** Pixels that there are, of which a part is shown. */
  readonly virtualWidth: number | undefined;
  readonly virtualHeight: number | undefined;
  /** Where that part begins. */
  readonly left: number | undefined;
  readonly top: number | undefined;
  readonly bitsPerPixel: number | undefined;
  /** Bytes from a line to the next. */
  readonly lineLength: number | undefined;
  /** "truecolor", "directcolor", "pseudocolor" (with a palette), "mono01", "mono10"; else its number. */
  readonly visual: string | undefined;
  /** How pixels lie in memory: "packed", or the number of another way. */
  readonly layout: string | undefined;
  readonly red: ColourBits | undefined;
  readonly green: ColourBits | undefined;
  readonly blue: ColourBits | undefined;
  /** Physical address of its memory: mostly a graphics card's, which is not in RAM; 0n for what the kernel keeps in pages of its own. */
  readonly physical: bigint | undefined;
  /** Where the kernel has it mapped; 0n for nowhere. */
  readonly virtual: bigint | undefined;
  /** Bytes of its memory. */
  readonly size: bigint | undefined;
}

/** Every framebuffer that is registered, by number. @throws {TypesError} `NO_TYPE` for a kernel without them (CONFIG_FB); {SymbolError} `NO_SYMBOL`. */
export function listFramebuffers(kernel: LinuxKernel, options: DamageOptions = {}): IoSequence<Framebuffer> {
  return IoSequence.of(kernel.memory.scheduler, listRoutine, kernel, options);
}

function* listRoutine(sink: Sink<Framebuffer>, kernel: LinuxKernel, options: DamageOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  if (!hasStruct(data.types, "fb_info")) {
    throw new TypesError("NO_TYPE", "fb_info", "this kernel has no framebuffers (CONFIG_FB)");
  }
  const what = "the framebuffers";
  const table = yield* needSymbol(data, "registered_fb");
  const pointers = yield* pointersAt(data.memory, table, MAX_FRAMEBUFFERS);
  if (typeof pointers === "number") {
    log.report(damage(what, table, "unreadable", pointers));
    log.end();
    return;
  }
  const found = pointers.flatMap((address, slot) => (address === 0n ? [] : [{ address, slot }]));
  const counter = yield* symbolAddress(data, "num_registered_fb");
  if (counter !== undefined) {
    const { bytes, holes } = yield* data.memory.readPartial(counter, 4);
    const count = new DataView(bytes.buffer, bytes.byteOffset, 4).getInt32(0, data.memory.littleEndian);
    if (holes[0] !== undefined)
      log.report(damage("num_registered_fb", counter, "unreadable", holes[0].fault));
    else if (count !== found.length) {
      log.report(
        damage(what, table, "mismatch", 0, `${found.length} are there, and it is told that ${count} are`),
      );
    }
  }
  const rows = yield* readEach(
    data,
    INFO,
    found.map(({ address }) => address),
    "a framebuffer",
    log.report,
  );
  for (const [i, { address, slot }] of found.entries()) {
    const row = rows[i] ?? {};
    if (row.node !== undefined && row.node !== slot) {
      log.report(
        damage("a framebuffer", address, "mismatch", 0, `number ${slot} says that it is ${row.node}`),
      );
    }
    yield sink.emit(described(address, slot, row));
  }
  log.end();
}

const VISUALS = ["mono01", "mono10", "truecolor", "pseudocolor", "directcolor"] as const;

function described(address: bigint, number: number, row: Partial<Values<typeof INFO.fields>>): Framebuffer {
  const { visual, kind, length, screenSize } = row;
  const colour = (offset: number | undefined, bits: number | undefined) =>
    offset === undefined || bits === undefined ? undefined : { offset, length: bits };
  return {
    address,
    number,
    name: row.name,
    width: row.width,
    height: row.height,
    virtualWidth: row.virtualWidth,
    virtualHeight: row.virtualHeight,
    left: row.left,
    top: row.top,
    bitsPerPixel: row.bits,
    lineLength: row.lineLength,
    visual: visual === undefined ? undefined : (VISUALS[visual] ?? `${visual}`),
    layout: kind === undefined ? undefined : kind === 0 ? "packed" : `${kind}`,
    red: colour(row.redOffset, row.redLength),
    green: colour(row.greenOffset, row.greenLength),
    blue: colour(row.blueOffset, row.blueLength),
    physical: row.physical,
    virtual: row.screen,
    // (Drivers set one of both, or both.)
    size:
      length === undefined || screenSize === undefined ? undefined : length > 0 ? BigInt(length) : screenSize,
  };
}
