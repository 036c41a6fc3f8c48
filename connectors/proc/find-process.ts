/** Which process `proc:TARGET` means: a number, or a name that only one has. */
import { ConnectorError } from "../errors.js";
import { type ListedProcess, listProcesses } from "./tasks.js";

/** Candidates that an error lists. */
const SHOWN = 10;
/** Characters of a command line in an error. */
const MAX_LINE = 80;

/**
 * The number of the process that is meant.
 *
 * A name is the one that the kernel has of it (at most 15 bytes: what is longer matches by its beginning), or the last part of
 * the path that it was started by. The own process is not meant by a name.
 *
 * @param name For messages: `proc:TARGET`.
 * @throws {ConnectorError} `BAD_TARGET`, `NO_SUCH_PROCESS`, `AMBIGUOUS_PROCESS` with a list of those that are meant.
 */
export function findProcessNumber(
  name: string,
  target: number | string,
  list: () => readonly ListedProcess[] = listProcesses,
): number {
  if (typeof target === "number" || /^[0-9]+$/.test(target)) {
    const pid = Number(target);
    if (Number.isSafeInteger(pid) && pid > 0) return pid;
  }
  if (typeof target === "number" || target === "" || /^-?[0-9.]+$/.test(target) || target.includes("/")) {
    throw new ConnectorError(
      "BAD_TARGET",
      name,
      "give the number of a process or its name, as in proc:1234 or proc:sshd",
    );
  }
  const found = list().filter((each) => each.pid !== process.pid && isCalled(each, target));
  // Kernel threads have no memory to be read: they are meant only where nobody else is.
  const programs = found.filter(({ commandLine }) => commandLine.length > 0);
  const meant = programs.length > 0 ? programs : found;
  const [only, second] = meant;
  if (only === undefined) {
    throw new ConnectorError("NO_SUCH_PROCESS", name, "there is no process of that name (ps -e lists them)");
  }
  if (second === undefined) return only.pid;
  const shown = meant.slice(0, SHOWN).map(describe).join(", ");
  const more = meant.length > SHOWN ? ` and ${meant.length - SHOWN} more` : "";
  throw new ConnectorError(
    "AMBIGUOUS_PROCESS",
    name,
    `${meant.length} processes have that name: give the number of one: ${shown}${more}`,
  );
}

/** Bytes of a name that the kernel keeps (TASK_COMM_LEN - 1). */
const COMM = 15;

function isCalled({ name, commandLine }: ListedProcess, target: string): boolean {
  const [program = ""] = commandLine;
  if (name === target || program.slice(program.lastIndexOf("/") + 1) === target) return true;
  const bytes = Buffer.from(target);
  return bytes.length > COMM && name === bytes.subarray(0, COMM).toString();
}

function describe({ pid, name, commandLine }: ListedProcess): string {
  const line = commandLine.length === 0 ? `[${name}]` : commandLine.join(" ");
  const shown = line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}…` : line;
  return `${pid} (${escapeControls(shown)})`;
}

/** Names and arguments are whatever others chose. */
function escapeControls(text: string): string {
  return text.replace(
    /[^\x20-\x7e\u00a1-\u00ac\u00ae-\u024f\u2026]/gu,
    (character) => `\\u{${(character.codePointAt(0) as number).toString(16)}}`,
  );
}
