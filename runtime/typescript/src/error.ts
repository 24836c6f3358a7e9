// How calls fail and why sessions end (PROTOCOL.md, section 8).
import { isMessage } from "@bufbuild/protobuf";
import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";

/** The codes, gRPC's. What a peer sends that is not among them is passed on as it is. */
export const Code = {
  Ok: 0,
  /** The caller gave up. */
  Cancelled: 1,
  /** The handler failed and did not say how. */
  Unknown: 2,
  /** The request is wrong, whatever the state of the system. */
  InvalidArgument: 3,
  /** No answer came in time. */
  DeadlineExceeded: 4,
  /** What the request names does not exist. */
  NotFound: 5,
  /** What the request would make exists. */
  AlreadyExists: 6,
  /** The caller may not do this. */
  PermissionDenied: 7,
  /** A limit or quota is reached. */
  ResourceExhausted: 8,
  /** The system is not in the state that the request needs. */
  FailedPrecondition: 9,
  /** A conflict with another call; try the whole again. */
  Aborted: 10,
  /** Past the end of something that may grow. */
  OutOfRange: 11,
  /** The peer does not have the method. */
  Unimplemented: 12,
  /** Something is broken. */
  Internal: 13,
  /** The peer cannot be reached now. */
  Unavailable: 14,
  /** Data is lost for good. */
  DataLoss: 15,
  /** The caller is not known. */
  Unauthenticated: 16,
} as const;

/** One of the codes, or another number that a peer sent. */
export type Code = number;

const codeNames = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];

/** The code's name on every language's side: "NOT_FOUND". */
export function codeName(code: Code): string {
  return codeNames[code] ?? `CODE_${code}`;
}

/** What an RpcError may say beside its code and message. */
export interface RpcErrorOptions {
  /** The handler has certainly done nothing, so that the call can be repeated. */
  notExecuted?: boolean;
  /** Messages that say more. Those travel that the schema declares in the method's option `errors`. */
  details?: readonly Message[];
  /** The cause. It stays in this process. */
  cause?: unknown;
}

/**
 * How a call failed. Handlers throw one to say what the caller sees; callers get one from every call that fails. What a
 * handler throws beside it is UNKNOWN to the caller.
 */
export class RpcError extends Error {
  override readonly name = "RpcError";
  /** What kind of failure it is: see {@link Code}. */
  readonly code: Code;
  /** The text for people. A handler's travels to the caller, at most 1 KiB of it. */
  readonly text: string;
  /** The typed errors that the schema declares for the method and that came with the failure. */
  readonly details: readonly Message[];
  /** The handler has certainly not run, so that the call can be repeated whatever it does. Else it may have run. */
  readonly notExecuted: boolean;
  /** The method that was called, "echo.v1.Echo/Say", where the error is a call's. */
  readonly method: string | undefined;
  /** The peer answered so; otherwise the failure was found on this side. */
  readonly remote: boolean;

  constructor(code: Code, text: string, options: RpcErrorOptions = {}, call?: { method: string; remote: boolean }) {
    super(`${call === undefined ? "" : call.method + ": "}${codeName(code)}: ${text}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.text = text;
    this.details = options.details ?? [];
    this.notExecuted = options.notExecuted ?? false;
    this.method = call?.method;
    this.remote = call?.remote ?? false;
  }

  /** The typed error of a type, if one came: `error.detail(NoNameSchema)?.example`. */
  detail<Desc extends DescMessage>(schema: Desc): MessageShape<Desc> | undefined {
    return this.details.find((d): d is MessageShape<Desc> => isMessage(d, schema));
  }
}

/** Why a session ended. The numbers travel in GOAWAY frames. */
export const Reason = {
  /** This side closed it. */
  Closed: 0,
  /** The peer closed it or died. */
  PeerGone: 1,
  /** It ended as planned, after its calls. */
  Drained: 2,
  /** The peer broke the protocol. */
  Protocol: 3,
  /** The peer speaks something else. */
  Foreign: 4,
  /** The peers have no protocol version in common. */
  Version: 5,
  /** The peer did not say hello in time. */
  NoHandshake: 6,
  /** The peer took nothing for too long. */
  Stalled: 7,
  /** The transport failed. */
  Broken: 8,
  /** The peer ended it and said why. */
  Refused: 9,
} as const;

/** One of the reasons, or another number that a peer sent. */
export type Reason = number;

const reasonNames = [
  "closed",
  "peer gone",
  "drained",
  "protocol violation",
  "foreign protocol",
  "version mismatch",
  "no handshake",
  "stalled",
  "transport failed",
  "refused",
];

/** The reason in words. */
export function reasonName(reason: Reason): string {
  return reasonNames[reason] ?? `reason ${reason}`;
}

/** Why a session ended, or did not begin. It is the cause of the errors of calls that ended with it. */
export class SessionError extends Error {
  override readonly name = "SessionError";
  /** The peer's address, as in Peer; undefined where there was no session yet. */
  readonly peer: string | undefined;

  constructor(
    readonly reason: Reason,
    /** What was found. */
    readonly text: string,
    options: ErrorOptions & { during?: string; peer?: string | undefined } = {},
  ) {
    const { during, peer, cause } = options;
    const session = `session${peer === undefined ? "" : ` with ${peer}`} ended: ${reasonName(reason)}: ${text}`;
    super(during === undefined ? session : `${during}: ${session}`, cause === undefined ? undefined : { cause });
    this.peer = peer;
  }
}
