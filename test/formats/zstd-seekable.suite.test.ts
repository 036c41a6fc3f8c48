import { formatSuite } from "../support/format-suite.js";
import { zstdSeekable } from "../support/formats/zstd-seekable.js";

formatSuite(zstdSeekable);
