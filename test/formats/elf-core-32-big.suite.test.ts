import { formatSuite } from "../support/format-suite.js";
import { elfCore32Big } from "../support/formats/elf-core-32-big.js";

formatSuite(elfCore32Big);
