import { formatSuite } from "../support/format-suite.js";
import { windowsBitmap, windowsFull, windowsFull32, windowsRanges } from "../support/formats/windows-dump.js";

formatSuite(windowsFull);
formatSuite(windowsFull32);
formatSuite(windowsBitmap);
formatSuite(windowsRanges);
