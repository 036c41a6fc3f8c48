/**
 * What the flags of mounts and file systems mean.
 *
 * Facts: include/linux/mount.h (MNT_), include/linux/fs.h (SB_), fs/mount.h (T_, since 6.17), fs/proc_namespace.c for their
 * names and order.
 */

const READ_ONLY = 0x40;
const MOUNT_NAMES: readonly (readonly [number, string])[] = [
  [0x01, "nosuid"],
  [0x02, "nodev"],
  [0x04, "noexec"],
  [0x08, "noatime"],
  [0x10, "nodiratime"],
  [0x20, "relatime"],
  // Since 5.10 (dab741e0e02b).
  [0x80, "nosymfollow"],
];

/** Options of a mount by its `mnt_flags`, "ro" or "rw" first. */
export function mountOptions(flags: number): string[] {
  return named((flags & READ_ONLY) !== 0, flags, MOUNT_NAMES);
}

const SUPER_NAMES: readonly (readonly [number, string])[] = [
  [0x10, "sync"],
  [0x80, "dirsync"],
  // Until 5.15 (f7e33bdbd6d1).
  [0x40, "mand"],
  [0x200_0000, "lazytime"],
];

/** Options that every file system has, by its `s_flags`. */
export function superOptions(flags: number): string[] {
  return named((flags & 1) !== 0, flags, SUPER_NAMES);
}

function named(readOnly: boolean, flags: number, names: readonly (readonly [number, string])[]): string[] {
  const set = names.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
  return [readOnly ? "ro" : "rw", ...set];
}

/**
 * Whether mounts below it are shared with its peers, and whether it may be bound elsewhere.
 *
 * @param own `mnt_t_flags`, which has these bits (T_SHARED, T_UNBINDABLE) in newer kernels; else MNT_SHARED, MNT_UNBINDABLE.
 */
export function propagationOf(
  flags: number,
  own: number | undefined,
): { readonly shared: boolean; readonly unbindable: boolean } {
  if (own !== undefined) return { shared: (own & 1) !== 0, unbindable: (own & 2) !== 0 };
  return { shared: (flags & 0x1000) !== 0, unbindable: (flags & 0x2000) !== 0 };
}

/**
 * Whether a mount shows other owners than its file system has.
 *
 * @param superUsers The user namespace of its file system.
 * @param noIdmap Address of `nop_mnt_idmap`, where a mount has an idmap.
 * @param firstUsers Address of `init_user_ns`, where it has a user namespace.
 */
export function isIdmapped(
  mount: { readonly idmap: bigint | undefined; readonly userNamespace: bigint | undefined },
  superUsers: bigint | undefined,
  noIdmap: bigint | undefined,
  firstUsers: bigint | undefined,
): boolean {
  const { idmap, userNamespace } = mount;
  if (idmap !== undefined) return noIdmap !== undefined && idmap !== noIdmap;
  if (userNamespace === undefined || superUsers === undefined || firstUsers === undefined) return false;
  // Kernels differ in which of the two means "as it is" where the file system belongs to a user namespace.
  return userNamespace !== firstUsers && userNamespace !== superUsers;
}
