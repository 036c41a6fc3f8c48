/** Operations in a session are driven when their result is shown, named, or a member of it is asked for. */
import { Io } from "../../src/io/index.js";

/** Results of operations that were driven here: an operation is driven once, and may be shown again. */
const results = new WeakMap<Io<unknown>, { readonly value: unknown }>();

/** An operation's result; all else as it is. */
export function driven(value: unknown): unknown {
  if (!(value instanceof Io)) return value;
  let result = results.get(value);
  if (result === undefined) {
    result = { value: value.sync() };
    results.set(value, result);
  }
  return result.value;
}

/** Names that JavaScript, and what prints, ask any object for. */
const ASKED = new Set(["constructor", "inspect", "toJSON", "toString", "valueOf", "length", "nodeType"]);

/**
 * From here on, what an operation itself has not is its result's: `linux.object("init_task").comm`. For a session only: a program
 * that forgets to drive an operation should be told.
 */
export function driveForMembers(): void {
  const fallback = new Proxy(Object.prototype, {
    get(target, name, receiver: unknown) {
      if (typeof name !== "string" || ASKED.has(name) || name in target || !(receiver instanceof Io)) {
        return Reflect.get(target, name, receiver) as unknown;
      }
      const result = driven(receiver) as Record<string, unknown> | null | undefined;
      const member = result?.[name];
      return typeof member === "function" ? member.bind(result) : member;
    },
  });
  Object.setPrototypeOf(Io.prototype, fallback);
}
