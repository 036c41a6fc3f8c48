import { formatSuite } from "../support/format-suite.js";
import { elfCore } from "../support/formats/elf-core.js";

formatSuite(elfCore);
