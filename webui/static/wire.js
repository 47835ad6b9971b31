/** The bytes of `/ws/video`: the length of a JSON header (4 bytes, little-endian), the header, a JPEG. */

const LENGTH_BYTES = 4;
const HEADER_LIMIT_BYTES = 65536;

/**
 * Return header and JPEG of one message, or null when it is not one.
 * @param {ArrayBuffer} message
 * @returns {{header: PictureHeader, jpeg: Uint8Array<ArrayBuffer>} | null}
 */
export function readPicture(message) {
  if (message.byteLength < LENGTH_BYTES) return null;
  const length = new DataView(message).getUint32(0, true);
  const end = LENGTH_BYTES + length;
  if (length > HEADER_LIMIT_BYTES || end > message.byteLength) return null;
  try {
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(message, LENGTH_BYTES, length)));
    return typeof header.frame === "number" ? { header, jpeg: new Uint8Array(message, end) } : null;
  } catch {
    return null;
  }
}
