import { formatSuite } from "../support/format-suite.js";
import { kdumpBigEndian } from "../support/formats/kdump-big-endian.js";

formatSuite(kdumpBigEndian);
