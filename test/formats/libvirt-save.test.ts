import { expect, it } from "vitest";
import { readInto } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes } from "../support/dump.js";
import { smallStream } from "../support/formats/qemu-stream.js";
import { saveHeaderLength, writeLibvirtSave } from "../support/write-libvirt-save.js";
import { writeQemuStream } from "../support/write-qemu-stream.js";

const bytes = pattern(1024, 1);

it.each([
  ["of either byte order", { bigEndian: true }],
  ["with a cookie", { cookie: "<cookie/>" }],
  ["of version 1, whose format field means nothing", { version: 1, format: 3 }],
  ["with the usual 64 KiB to grow", { padding: 65_536 }],
])("a save file %s is read, and says which domain it is", (_, options) => {
  const image = openBytes(writeLibvirtSave(smallStream, options));
  expect(readInto(image.io, 0, 1024).sync()).toEqual(bytes);
  expect(image.details).toMatchObject({
    domain: "web & mail",
    domainMachine: "pc-q35-7.2",
    wasRunning: true,
    streamOffset: saveHeaderLength(options),
  });
  expect(image.description).toMatch(/saved by libvirt/);
});

it("one that libvirt did not finish is read, with a warning", () => {
  const image = openBytes(writeLibvirtSave(smallStream, { magic: "LibvirtQemudPart" }));
  expect(image.warnings.join()).toMatch(/did not finish this file/);
  expect(readInto(image.io, 0, 1024).sync()).toEqual(bytes);
});

it.each([
  [1, "gzip -dc"],
  [2, "bzip2 -dc"],
  [3, "xz -dc"],
  [4, "lzop -dc --ignore-warn"],
  [5, "zstd -dc"],
])("a compressed one (format %i) is refused with the command that unpacks it", (format, command) => {
  const start = saveHeaderLength() + 1;
  expect(() => openBytes(writeLibvirtSave(smallStream, { format }))).toThrow(
    `run tail -c +${start} FILE | ${command} >`,
  );
});

it("a sparse one (mapped-ram) is read though its offsets count from the file's beginning", () => {
  const pages = new Map([[2, bytes]]);
  const origin = saveHeaderLength();
  const stream = writeQemuStream({
    machine: "pc-q35-10.0",
    pageBits: 10,
    capabilities: ["mapped-ram"],
    blocks: [{ name: "pc.ram", length: 4096, pages }],
    rounds: [[]],
    alignment: 4096,
    origin,
  });
  const image = openBytes(writeLibvirtSave(stream, { format: 6 }));
  expect(readInto(image.io, 0, 4096).sync()).toEqual(
    new Uint8Array([...new Uint8Array(2048), ...bytes, ...new Uint8Array(1024)]),
  );
});

it("what is no save file, has no stream, or a format that nobody knows is an error that names the field", () => {
  expect(() => openBytes(pattern(200, 1), { format: "libvirt-save" })).toThrow(/magic at file offset 0x0/);
  expect(() => openBytes(writeLibvirtSave(pattern(500, 1)))).toThrow(/no QEMU migration stream begins here/);
  expect(() => openBytes(writeLibvirtSave(new Uint8Array(0)))).toThrow(
    /data_len at file offset 0x14: the memory begins at/,
  );
  expect(() => openBytes(writeLibvirtSave(smallStream, { format: 9 }))).toThrow(
    /format at file offset 0x1c: 9 is no format/,
  );
  expect(() => openBytes(writeLibvirtSave(smallStream, { version: 3 }))).toThrow(
    /version at file offset 0x10/,
  );
});
