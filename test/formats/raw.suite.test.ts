import { formatSuite } from "../support/format-suite.js";
import { raw } from "../support/formats/raw.js";

formatSuite(raw);
