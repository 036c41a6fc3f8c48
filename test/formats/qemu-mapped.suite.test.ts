import { formatSuite } from "../support/format-suite.js";
import { qemuMapped } from "../support/formats/qemu-mapped.js";

formatSuite(qemuMapped);
