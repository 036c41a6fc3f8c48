/** Where a server of memory listens: `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH`. */

/** One of both. */
export type NetPlace =
  | { readonly host: string; readonly port: number; readonly path?: undefined }
  | { readonly path: string; readonly host?: undefined; readonly port?: undefined };

/** `undefined` for what is none. */
export function parsePlace(text: string): NetPlace | undefined {
  if (text.startsWith("unix:")) return text.length > 5 ? { path: text.slice(5) } : undefined;
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

/** As it is given. */
export function placeText(place: NetPlace): string {
  if (place.path !== undefined) return `unix:${place.path}`;
  return `${place.host.includes(":") ? `[${place.host}]` : place.host}:${place.port}`;
}

/** Whether nobody but this machine's own programs can come there. (A name is resolved by whoever can forge it, but for `localhost`.) */
export function isLocal(place: NetPlace): boolean {
  if (place.path !== undefined) return true;
  return /^(localhost|127(\.\d{1,3}){3}|::1|::ffff:127(\.\d{1,3}){3})$/i.test(place.host);
}
