import { ExtractFolder } from "../../connectors/extract-folder.js";
import { type Framebuffer, listFramebuffers } from "../../src/linux/index.js";
import { EXIT, statusOf, UsageError } from "../errors.js";
import type { KernelCommand, KernelContext } from "./command.js";
import { MAX_BYTES_OPTION, maxBytesOf } from "./extract-limit.js";
import { exact } from "./files.js";
import { type WrittenPicture, writePicture } from "./framebuffer-files.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Framebuffer>[] = [
  { field: "number", type: "integer", title: "FB", right: true, value: ({ number }) => number },
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "width", type: "integer", value: ({ width }) => width },
  { field: "height", type: "integer", value: ({ height }) => height },
  { field: "virtualWidth", type: "integer", value: (each) => each.virtualWidth },
  { field: "virtualHeight", type: "integer", value: (each) => each.virtualHeight },
  { field: "left", type: "integer", value: ({ left }) => left },
  { field: "top", type: "integer", value: ({ top }) => top },
  { field: "shown", title: "SHOWN", value: (each) => pixels(each.width, each.height) },
  { field: "whole", title: "WHOLE", value: (each) => pixels(each.virtualWidth, each.virtualHeight) },
  { field: "bitsPerPixel", type: "integer", title: "BITS", right: true, value: (each) => each.bitsPerPixel },
  { field: "lineLength", type: "integer", title: "LINE", right: true, value: ({ lineLength }) => lineLength },
  { field: "visual", title: "VISUAL", value: ({ visual }) => visual },
  { field: "layout", value: ({ layout }) => layout },
  { field: "red", type: "json", value: ({ red }) => red && { ...red } },
  { field: "green", type: "json", value: ({ green }) => green && { ...green } },
  { field: "blue", type: "json", value: ({ blue }) => blue && { ...blue } },
  { field: "size", type: "unsigned", title: "SIZE", right: true, value: ({ size }) => exact(size) },
  { field: "physical", type: "address", title: "PHYSICAL", value: ({ physical }) => physical },
  { field: "virtual", type: "address", title: "VIRTUAL", value: ({ virtual }) => virtual },
  { field: "address", type: "address", value: ({ address }) => address },
];

function pixels(width: number | undefined, height: number | undefined): string | undefined {
  return width === undefined || height === undefined ? undefined : `${width}x${height}`;
}

/** A framebuffer, and its picture. */
type Shown = Framebuffer & WrittenPicture;

const WRITTEN: readonly ListColumn<Shown>[] = [
  ...COLUMNS.map((column) => column as ListColumn<Shown>),
  { field: "file", title: "FILE", value: ({ file }) => file ?? null },
  { field: "missing", type: "integer", title: "MISSING", right: true, value: ({ missing }) => missing },
  { field: "error", value: ({ why }) => why ?? null },
];

/** `memtool framebuffers`. */
export const FRAMEBUFFERS: KernelCommand = {
  name: "framebuffers",
  description: "framebuffers: their size, pixels and memory; with --extract, what they show as PNG files",
  options: [
    ["--extract <directory>", "write what each shows, where its memory is in the dump"],
    MAX_BYTES_OPTION,
  ],
  examples: ["framebuffers", "framebuffers --extract tmp/screens"],
  check: (_, options) => {
    maxBytesOf(options);
    if (options.extract === "") throw new UsageError("framebuffers: --extract needs a directory");
  },
  run: async (context) => {
    const { session, kernel, options } = context;
    if (typeof options.extract === "string") return await extract(context, options.extract);
    const damage = new DamageSummary();
    const list = listFramebuffers(kernel, { onDamage: damage.add });
    return await showList(session, list, COLUMNS, damage, "no framebuffers");
  },
};

async function extract({ session, kernel, options }: KernelContext, path: string): Promise<number> {
  const damage = new DamageSummary();
  const folder = new ExtractFolder(path, maxBytesOf(options));
  const told: string[] = [];
  let holes = 0;
  async function* written(): AsyncGenerator<Shown> {
    for await (const framebuffer of listFramebuffers(kernel, { onDamage: damage.add })) {
      const picture = await writePicture(kernel, framebuffer, folder);
      if (picture.why !== undefined) told.push(picture.why);
      else if (picture.missing > 0) holes++;
      yield { ...framebuffer, ...picture };
      if (picture.isLast) return;
    }
  }
  const status = await showList(session, written(), WRITTEN, damage, "no framebuffers");
  if (holes > 0) session.warn("what is not in the dump is transparent in the pictures (MISSING: pixels)");
  for (const each of told) session.warn(each);
  return status === EXIT.ok ? statusOf(true, told.length > 0 || holes > 0) : status;
}
