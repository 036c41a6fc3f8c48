/** Kernel releases as numbers, for layouts that nothing in memory tells. */

/** Release `major.minor` as one number that grows with time. */
export function releaseOf(major: number, minor: number): number {
  return major * 1000 + minor;
}

/**
 * The number of a kernel's release: of "6.1.0-56-cloud-amd64" it is `releaseOf(6, 1)`; `undefined` if it has not that
 * form.
 */
export function parseRelease(release: string): number | undefined {
  const match = /^([1-9]\d{0,2})\.(\d{1,3})(?![0-9])/.exec(release);
  return match === null ? undefined : releaseOf(Number(match[1]), Number(match[2]));
}
