import { formatSuite } from "../support/format-suite.js";
import { splitKdumpCase } from "../support/formats/split-kdump.js";

formatSuite(splitKdumpCase);
