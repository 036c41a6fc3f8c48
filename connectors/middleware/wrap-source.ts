/** Sources around sources. */
import type { Source } from "../../src/io/index.js";

/** What a wrapper has of its own; `undefined` is for what is not to be seen of the source below. */
export type OwnMembers = { readonly [K in keyof Source]?: Source[K] | undefined } & Readonly<
  Record<string, unknown>
>;

/**
 * A source that is another one, but for some members. What else that one has, as a process's `maps` or a machine's `notes`, is there
 * as well; but nobody may read past the wrapper (`InlineSource`).
 */
export function wrapSource<S extends Source, O extends OwnMembers>(
  inner: S,
  own: O,
): S & Omit<O, keyof Source> {
  const members: OwnMembers = { inline: undefined, ...own };
  return new Proxy(inner, {
    get(target, key) {
      if (typeof key === "string" && Object.hasOwn(members, key)) return members[key];
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
    has(target, key) {
      if (typeof key === "string" && Object.hasOwn(members, key)) return members[key] !== undefined;
      return Reflect.has(target, key);
    },
  }) as S & Omit<O, keyof Source>;
}
