import { formatSuite } from "../support/format-suite.js";
import { elfCorePaging } from "../support/formats/elf-core-paging.js";

formatSuite(elfCorePaging);
