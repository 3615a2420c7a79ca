// What the transports have in common: events arrive until the transport ends.

/** The transports by their names in `transports`. */
export type TransportName = 'websocket' | 'eventStream' | 'poll';

/** How long a transport may take to open: the server reaps a connection after 15 s without a listener. */
export const OPENING = 10_000;

/**
 * Why a transport ended.
 *
 * - `refused`: it never worked, and the server probably did not see it.
 * - `hung`: it never worked, but the server may believe that it is open.
 * - `silent`: it worked, and nothing arrives any more.
 * - `unknown`: the server does not know the connection.
 * - `away`: the server closed it and said that it cannot serve now.
 * - `lost`: the TCP connection broke.
 */
export type End = 'refused' | 'hung' | 'silent' | 'unknown' | 'away' | 'lost';

/** Receives what happens on a transport. */
export interface TransportHandlers<Opened, Ended> {
    opened(detail: Opened): void;
    received(data: unknown): void;
    /** The last call: nothing arrives after it. */
    ended(end: End, detail: Ended): void;
}

export interface Transport {
    /** Ends the transport without calling a handler. */
    close(): void;
    /** The machine slept, or its network changed: ends the transport unless it soon shows a sign of life. */
    check(): void;
}
