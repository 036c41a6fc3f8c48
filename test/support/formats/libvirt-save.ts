import type { DumpSample, FormatCase } from "../format-suite.js";
import { saveHeaderLength, writeLibvirtSave } from "../write-libvirt-save.js";
import { smallStream, streamPackets, streamSamples } from "./qemu-stream.js";

const small = writeLibvirtSave(smallStream, { cookie: "<cookie/>" });

export const libvirtSave: FormatCase = {
  name: "a libvirt save file",
  small: { file: small },
  size: 0x4000,
  fields: [
    { start: 0, end: 92 },
    {
      start: saveHeaderLength({ cookie: "<cookie/>" }) & ~3,
      end: saveHeaderLength({ cookie: "<cookie/>" }) + 40,
    },
  ],
  cut: /ends/,
  samples: streamSamples.map(
    (sample): DumpSample => ({
      ...sample,
      file: writeLibvirtSave(sample.file, { padding: sample.file.length % 9 }),
    }),
  ),
  packets: { ...streamPackets, file: writeLibvirtSave(streamPackets.file) },
};
