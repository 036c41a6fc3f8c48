/** The file that a picture or a list goes to. */
import { statSync } from "node:fs";
import { UsageError } from "./errors.js";
import type { Session } from "./session.js";

/** Nobody means to replace the dump by what is said of it. @throws {UsageError} */
export function checkPicturePath(session: Session, path: string, option = "--svg"): void {
  if (path === "") throw new UsageError(`${option}: the name of the file is empty`);
  const there = fileAt(path);
  if (there === undefined) return;
  const { paths } = session.machine;
  const same = paths.find((name) => {
    const file = fileAt(name);
    return file?.dev === there.dev && file.ino === there.ino;
  });
  if (same === undefined) return;
  throw new UsageError(
    `${option}: ${path} is ${paths.length === 1 ? "the dump itself" : "one of the dump's files"}`,
  );
}

const fileAt = (path: string) => statSync(path, { throwIfNoEntry: false });
