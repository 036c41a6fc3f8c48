/**
 * What the build puts in the place of `import.meta.url` in the command, which is CommonJS (tsup.config.ts). The shim of the build's own
 * tool puts a path behind "file:" as it is: in a folder that has `#`, `?` or `%` in its name, that is the URL of another one.
 */
import { pathToFileURL } from "node:url";

declare const __filename: string;

export const importMetaUrl = pathToFileURL(__filename).href;
