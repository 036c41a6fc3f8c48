import { formatSuite } from "../support/format-suite.js";
import { qemuStream } from "../support/formats/qemu-stream.js";

formatSuite(qemuStream);
