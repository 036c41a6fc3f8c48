import { formatSuite } from "../support/format-suite.js";
import { libvirtSave } from "../support/formats/libvirt-save.js";

formatSuite(libvirtSave);
