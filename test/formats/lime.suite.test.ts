import { formatSuite } from "../support/format-suite.js";
import { lime, limeBigEndian } from "../support/formats/lime.js";

formatSuite(lime);
formatSuite(limeBigEndian);
