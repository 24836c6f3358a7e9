// The files of testdata/vectors.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of the repository: five folders above what this file is compiled to. */
export const root = join(fileURLToPath(import.meta.url), "../../../../../../..");

/** Reads one of the files. */
export function vectorText(name: string): string {
  return readFileSync(join(root, "testdata/vectors", name), "utf8");
}

/** Bytes in groups of hexadecimal digits, which may be repeated: "0a05 61*5". */
export function bytes(hex: string): Buffer {
  return Buffer.concat(
    hex.split(" ").map((group) => {
      const [digits, times] = group.split("*");
      return Buffer.concat(Array<Buffer>(Number(times ?? 1)).fill(Buffer.from(digits!, "hex")));
    }),
  );
}

/** What a frame is wanted to say. */
export interface WantedFrame {
  type: string;
  flags: string[];
  stream: number;
  arg: number;
  payload?: string;
  hello?: {
    min_version: number;
    max_version: number;
    features: number;
    max_frame: number;
    max_message: number;
    max_slots: number;
    window: number;
    session: string;
    agent: string;
    services?: { name: string; hash: string }[];
  };
  call?: { method: string; timeout: string; metadata?: Record<string, string>; message?: string };
  status?: { text: string; details?: { type: string; value: string }[]; trailers?: Record<string, string>; message?: string };
}

/** One of the files of frames. */
export interface FrameFile {
  max_frame: number;
  metadata_entries: number;
  metadata_bytes: number;
  cases: { name: string; hex: string; refused?: string; unique?: boolean; want?: WantedFrame }[];
}
