import { formatSuite } from "../support/format-suite.js";
import { vmwareMemory, vmwareState, vmwareWhole } from "../support/formats/vmware.js";

formatSuite(vmwareState);
formatSuite(vmwareMemory);
formatSuite(vmwareWhole);
