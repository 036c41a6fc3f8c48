import { formatSuite } from "../support/format-suite.js";
import { mappedRaw, raw } from "../support/formats/raw.js";

formatSuite(raw);
formatSuite(mappedRaw);
