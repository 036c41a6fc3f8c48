import { formatSuite } from "../support/format-suite.js";
import { xenCore } from "../support/formats/xen-core.js";

formatSuite(xenCore);
