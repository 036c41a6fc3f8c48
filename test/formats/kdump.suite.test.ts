import { formatSuite } from "../support/format-suite.js";
import { kdump } from "../support/formats/kdump.js";

formatSuite(kdump);
