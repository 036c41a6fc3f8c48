import { exportIsf } from "../../src/linux/index.js";
import { EXIT, UsageError } from "../errors.js";
import { escapeText, toJson } from "../render/escape.js";
import { writePieces } from "../write-pieces.js";
import type { KernelCommand } from "./command.js";

/** `memtool isf`. */
export const ISF: KernelCommand = {
  name: "isf",
  description: "writes the kernel's types and symbols as a symbol file for Volatility 3",
  options: [
    ["-o, --output <file>", "the new file, such as symbols/linux/kernel.json (packed if it ends with .gz)"],
    ["--force", "replace the file if it is there"],
  ],
  isNoList: true,
  examples: ["isf -o kernel.json"],
  check(_args, { output }) {
    if (typeof output !== "string" || output === "") {
      throw new UsageError("no file to write: give it with --output FILE");
    }
    if (output === "-") throw new UsageError("isf writes to a file, and not to standard output");
  },
  async run({ session, kernel, options, version }) {
    const path = options.output as string;
    const { pieces, warnings } = await exportIsf(kernel, { producer: { name: "memtool", version } });
    for (const warning of warnings) session.warn(warning);
    const size = await writePieces(path, pieces, { force: options.force === true });
    session.out.text(
      session.options.json === true
        ? `${toJson({ path, size, warnings })}\n`
        : `${escapeText(path)}: ${size} bytes\n`,
    );
    return warnings.length === 0 ? EXIT.ok : EXIT.partial;
  },
};
