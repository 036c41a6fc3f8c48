import { formatSuite } from "../support/format-suite.js";
import { avml } from "../support/formats/avml.js";

formatSuite(avml);
