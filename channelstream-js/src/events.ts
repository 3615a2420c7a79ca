// The states and events of a connection: their names, and what handlers receive.
import type { ChannelStreamError } from './error.js';
import type { ConnectAnswer, ServerEvent } from './protocol.js';

/**
 * What a connection is doing.
 *
 * - `idle`: `connect()` has not been called yet.
 * - `connecting`: `connect()` was called, and nothing has failed yet.
 * - `open`: it listens.
 * - `reconnecting`: it was lost or could not be made, and is tried again.
 * - `closed`: it was closed, or is not tried again until `connect()` is called.
 */
export type ConnectionState = 'idle' | 'connecting' | 'open' | 'reconnecting' | 'closed';

/** The server's events by their type. */
type ByType<Payload> = {
    [Type in ServerEvent['type']]: Extract<ServerEvent<Payload>, { type: Type }>;
};

/** What the handlers of each event receive. */
export interface ConnectionEvents<Payload = unknown> extends ByType<Payload> {
    /** The state changed. */
    state: { state: ConnectionState; previous: ConnectionState };
    /** A new connection: what the page shows should be drawn again, from the history in the answer. */
    connect: ConnectAnswer<Payload>;
    /** The connection's channels, after each connect, subscribe and unsubscribe. */
    channels: string[];
    /** Each event from the server, whatever its type. */
    event: ServerEvent<Payload>;
    /** Anything that failed. */
    error: ChannelStreamError;
    /**
     * The application answered connect with a status from 400 to 499 (but 408, 425 and 429), and is
     * not asked again until `connect()` is called.
     */
    refused: ChannelStreamError;
}
