import { inflateRawSync } from "node:zlib";

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;

/**
 * Reads one file of a zip archive (stored or deflated, below 4 GiB): enough for the two archives that are fetched, so
 * that a bare machine needs no unzip. Throws when the archive or the file is not as expected.
 */
export function readZipEntry(archive: Buffer, name: string): Buffer {
  const end = archive.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0 || archive.readUInt32LE(end) !== END_OF_DIRECTORY) throw new Error("Cannot read zip: no directory found");
  const count = archive.readUInt16LE(end + 10);
  let at = archive.readUInt32LE(end + 16);
  for (let entry = 0; entry < count; entry += 1) {
    if (archive.readUInt32LE(at) !== DIRECTORY_ENTRY) throw new Error("Cannot read zip: directory is damaged");
    const nameLength = archive.readUInt16LE(at + 28);
    if (archive.toString("utf8", at + 46, at + 46 + nameLength) === name) return readEntry(archive, at);
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  throw new Error(`Cannot find ${name} in zip: it holds ${count} other files`);
}

function readEntry(archive: Buffer, directoryAt: number): Buffer {
  const method = archive.readUInt16LE(directoryAt + 10);
  const size = archive.readUInt32LE(directoryAt + 20);
  const headerAt = archive.readUInt32LE(directoryAt + 42);
  // Name and extra field may be longer in the local header than in the directory.
  const start = headerAt + 30 + archive.readUInt16LE(headerAt + 26) + archive.readUInt16LE(headerAt + 28);
  const content = archive.subarray(start, start + size);
  if (method === 0) return content;
  if (method === 8) return inflateRawSync(content);
  throw new Error(`Cannot read zip entry as its method must be 0 or 8: current value is ${method}`);
}
