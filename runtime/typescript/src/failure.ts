// How a call failed, before it is known what its method's errors look like.
import { Code } from "./error.js";
import type { Detail } from "./payload.js";

/** How a call failed. */
export interface Failure {
  readonly code: number;
  readonly text: string;
  readonly details: readonly Detail[];
  /** The handler has certainly not run. */
  readonly notExecuted: boolean;
  /** The peer said so; otherwise this side found it. */
  readonly remote: boolean;
  /** What it came from, on this side. */
  readonly cause?: unknown;
}

/** A failure that this side found. */
export function failure(code: number, text: string, cause?: unknown): Failure {
  return { code, text, details: [], notExecuted: false, remote: false, cause };
}

/** A failure of a call whose handler has certainly not run. */
export function notExecuted(code: number, text: string, cause?: unknown): Failure {
  return { ...failure(code, text, cause), notExecuted: true };
}

/** The failure of a call that an AbortSignal ended. */
export function aborted(reason: unknown): Failure {
  if (reason instanceof DOMException && reason.name === "TimeoutError") {
    return failure(Code.DeadlineExceeded, "no answer before the caller's signal timed out", reason);
  }
  return failure(Code.Cancelled, "cancelled by the caller", reason);
}

/** What was thrown, as text. */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
