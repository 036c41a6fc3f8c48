import { formatSuite } from "../support/format-suite.js";
import { kdump32Bit } from "../support/formats/kdump-32-bit.js";

formatSuite(kdump32Bit);
