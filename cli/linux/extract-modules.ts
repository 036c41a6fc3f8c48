/** `modules --extract`: loaded modules, written as ELF files. */
import { ExtractError, type ExtractedFile, ExtractFolder } from "../../connectors/extract-folder.js";
import { type ExtractedModule, extractModules, type LinuxKernel } from "../../src/linux/index.js";
import { EXIT, statusOf } from "../errors.js";
import { hex } from "../render/numbers.js";
import type { Session } from "../session.js";
import { isOverLimit, limitText } from "./extract-limit.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

/** A module whose file was written, or why not. */
interface Written {
  readonly module: ExtractedModule;
  /** Below the folder. */
  readonly file: string | undefined;
}

const COLUMNS: readonly ListColumn<Written>[] = [
  { field: "name", title: "NAME", value: ({ module }) => module.name },
  { field: "file", title: "FILE", value: ({ file }) => file },
  { field: "size", type: "integer", title: "SIZE", right: true, value: ({ module }) => module.size },
  { field: "symbols", type: "integer", title: "SYMBOLS", right: true, value: ({ module }) => module.symbols },
  {
    field: "sections",
    type: "json",
    title: "SECTIONS",
    right: true,
    value: ({ module }) => module.sections.map((each) => ({ ...each })),
    cell: ({ module }) => String(module.sections.length),
  },
  {
    field: "missing",
    type: "integer",
    title: "MISSING",
    right: true,
    value: ({ module }) => module.memory - module.present,
  },
  {
    field: "holes",
    type: "json",
    value: ({ module }) =>
      module.holes.map(({ start, end, why }) => ({ start: hex(start), end: hex(end), why })),
  },
  {
    field: "freed",
    type: "json",
    title: "FREED",
    value: ({ module }) => module.sections.filter(({ state }) => state === "freed").map(({ name }) => name),
  },
  { field: "module", type: "address", value: ({ module }) => module.module },
];

/** Writes modules of these names, or all, below a folder. @returns the exit status. */
export async function extractModuleFiles(
  session: Session,
  kernel: LinuxKernel,
  names: readonly string[],
  path: string,
  maxBytes: number | undefined,
): Promise<number> {
  const damage = new DamageSummary();
  const folder = new ExtractFolder(path, maxBytes);
  const seen = new Set<string | undefined>();
  let failed = 0;
  let incomplete = 0;
  let isStopped = false;
  async function* written(): AsyncGenerator<Written> {
    const wanted = names.length === 0 ? undefined : names;
    for await (const module of extractModules(kernel, { names: wanted, onDamage: damage.add })) {
      seen.add(module.name);
      if (module.present < module.memory) incomplete++;
      let file: ExtractedFile | undefined;
      try {
        file = folder.create(`${module.name ?? hex(module.module)}.elf`.replaceAll("/", "%2F"));
        for (const { offset, bytes } of module.pieces) file.write(offset, bytes);
        file.resize(module.size);
        file.close();
        yield { module, file: file.relative };
      } catch (error) {
        if (!(error instanceof ExtractError) || error.code === "NO_SPACE") throw error;
        failed++;
        isStopped = isOverLimit(error);
        session.warn(isStopped ? limitText(error) : error.message);
        if (file !== undefined) session.warn(`${file.path} is not whole`);
        yield { module, file: undefined };
        if (isStopped) return;
      } finally {
        file?.abandon();
      }
    }
  }
  const status = await showList(session, written(), COLUMNS, damage, "no module was found");
  // (Once it was stopped, what was not come to is not known.)
  const unknown = isStopped ? [] : names.filter((name) => !seen.has(name.replaceAll("-", "_")));
  for (const name of unknown) session.warn(`no module ${name} is loaded (memtool modules lists them)`);
  if (incomplete > 0) {
    session.warn(
      `memory of ${incomplete} of ${seen.size} modules is not all there: their files have it as sections without bytes (--json lists the holes)`,
    );
  }
  if (status !== EXIT.ok || unknown.length + failed + incomplete === 0) return status;
  return statusOf(seen.size > 0, true);
}
