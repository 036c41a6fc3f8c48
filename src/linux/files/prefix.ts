/** Paths of directories that were found on the way to others: thousands of files may share one that is very long. */
import type { PathStart } from "./path.js";

/** The path of a directory. */
export interface Prefix {
  /** Without a "/" at its end: "" for the root. */
  readonly path: string;
  /** `?`: it is not known. */
  readonly start: PathStart | "?";
}

/** By mount and dentry; `undefined` for what has no path. */
export type Prefixes = Map<bigint, Map<bigint, Prefix | undefined>>;

/** Longer paths are not given: PATH_MAX is 4096 bytes, which one may go beyond by going down step by step. */
const MAX_PATH = 65_536;

/** One way up, from a dentry to where a path is known or begins. */
export class Climb {
  readonly #known: Prefixes;
  readonly #way: { readonly mount: bigint; readonly dentry: bigint; readonly name: string | undefined }[] =
    [];
  #found: Prefix | undefined;
  #isTooLong = false;

  constructor(known: Prefixes) {
    this.#known = known;
  }

  /** Whether the path that `end` came to is longer than any that is given. */
  get isTooLong(): boolean {
    return this.#isTooLong;
  }

  /** Steps that were gone. */
  get steps(): number {
    return this.#way.length;
  }

  /** Names on the way, the last of the path first. */
  get names(): string[] {
    return this.#way.flatMap(({ name }) => (name === undefined || name === "" ? [] : [name]));
  }

  /** One step up. @param name "" for the root of a mount, whose path is that of where it is mounted. */
  add(mount: bigint, dentry: bigint, name: string | undefined): void {
    this.#way.push({ mount, dentry, name });
  }

  /** Whether the path of a directory was found before: `end` goes on from it. */
  isKnown(mount: bigint, dentry: bigint): boolean {
    const found = this.#known.get(mount);
    if (found?.has(dentry) !== true) return false;
    this.#found = found.get(dentry);
    return true;
  }

  /**
   * The path of where the way began, and with it those of all on the way; `undefined` if there is none.
   *
   * @param start What the way ended at: a place where paths begin, or `undefined` for none; left out, what `isKnown` found.
   */
  end(...start: [] | [Prefix["start"] | undefined]): Prefix | undefined {
    let at = this.#found;
    if (start.length > 0) at = start[0] === undefined ? undefined : { path: "", start: start[0] };
    for (const { mount, dentry, name } of this.#way.reverse()) {
      at = this.#below(at, name);
      const known = this.#known.get(mount) ?? new Map<bigint, Prefix | undefined>();
      known.set(dentry, at);
      this.#known.set(mount, known);
    }
    return at;
  }

  /** Strings are put together so that they share what they begin with. */
  #below(above: Prefix | undefined, name: string | undefined): Prefix | undefined {
    if (above === undefined || name === undefined) return undefined;
    const { path, start } = above;
    if (name === "" || start === "outside") return above;
    if (path.length + name.length < MAX_PATH) return { path: `${path}/${name}`, start };
    this.#isTooLong = true;
    return undefined;
  }
}
