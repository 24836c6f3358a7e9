// TCP, with and without TLS.
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { connect as connectTLS, createServer as createServerTLS } from "node:tls";
import type { ConnectionOptions, TlsOptions } from "node:tls";
import { textOf } from "../failure.js";
import type { Listening } from "./listening.js";
import { StreamTransport } from "./stream.js";
import type { Transport } from "./transport.js";
import { connected, listening } from "./unix.js";

/** A peer that is gone without a word is asked after so many milliseconds of silence. */
const silenceMs = 15_000;

/** How long a peer may take for its part of TLS's handshake, in milliseconds. */
const shakeMs = 5000;

/** A host and a port. */
export interface HostPort {
  host: string;
  port: number;
}

function name(scheme: string, { host, port }: { host: string | undefined; port: number | undefined }): string {
  return `${scheme}:${host?.includes(":") === true ? `[${host}]` : host ?? "?"}:${port ?? 0}`;
}

function transport(scheme: string, socket: Socket): Transport {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, silenceMs);
  const address = name(scheme, { host: socket.remoteAddress, port: socket.remotePort });
  return new StreamTransport(socket, socket, { address, sameUser: false });
}

/** Connects to a host's port, with TLS when options are given, which then must have been agreed on within 5 s. */
export async function dialTCP(at: HostPort, tls: ConnectionOptions | undefined, signal: AbortSignal | undefined): Promise<Transport> {
  const scheme = tls === undefined ? "tcp" : "tls";
  try {
    const raw = await connected(connect(at), signal);
    if (tls === undefined) {
      return transport(scheme, raw);
    }
    const options = { minVersion: "TLSv1.3" as const, ...tls, socket: raw };
    if (options.servername === undefined && !/^[0-9.]+$|:/.test(at.host)) {
      options.servername = at.host;
    }
    options.host ??= at.host; // what the certificate is held against
    const socket = connectTLS(options);
    const late = setTimeout(() => socket.destroy(new Error(`no answer within ${shakeMs / 1000} s: is it a TLS server?`)), shakeMs);
    try {
      return transport(scheme, await connected(socket, signal, "secureConnect"));
    } catch (err) {
      raw.destroy();
      throw new Error(`handshake: ${textOf(err)}`, { cause: err });
    } finally {
      clearTimeout(late);
    }
  } catch (err) {
    signal?.throwIfAborted();
    throw new Error(`dial ${name(scheme, at)}: ${textOf(err)}`, { cause: err });
  }
}

/** Waits for peers on a host's port, with TLS when options are given. Port 0 takes a free one. */
export async function listenTCP(at: HostPort, tls: TlsOptions | undefined, accept: (t: Transport) => void): Promise<Listening> {
  const scheme = tls === undefined ? "tcp" : "tls";
  const server =
    tls === undefined
      ? createServer({ pauseOnConnect: true }, (socket) => accept(transport(scheme, socket)))
      : createServerTLS({ minVersion: "TLSv1.3", handshakeTimeout: shakeMs, ...tls }, (socket) => {
          accept(transport(scheme, socket));
        });
  if (tls !== undefined) {
    server.on("tlsClientError", () => undefined); // the peer is told by TLS, and others are served
  }
  try {
    await listening(server, at);
  } catch (err) {
    throw new Error(`listen ${name(scheme, at)}: ${textOf(err)}`, { cause: err });
  }
  const bound = server.address() as AddressInfo;
  return { address: name(scheme, { host: bound.address, port: bound.port }), close: () => server.close() };
}
