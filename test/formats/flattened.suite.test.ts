import { formatSuite } from "../support/format-suite.js";
import { flattened } from "../support/formats/flattened.js";

formatSuite(flattened);
