// The options of the constructor.
import type { Connection } from './connection.js';

type Settings = Pick<
    Connection,
    | 'cancelUrl'
    | 'channels'
    | 'connectUrl'
    | 'credentials'
    | 'cursor'
    | 'disconnectUrl'
    | 'eventStreamUrl'
    | 'fetch'
    | 'headers'
    | 'heartbeats'
    | 'increaseBounceIv'
    | 'longPollUrl'
    | 'messageDeleteUrl'
    | 'messageEditUrl'
    | 'messageUrl'
    | 'mutators'
    | 'noWebsocket'
    | 'remember'
    | 'resume'
    | 'shouldReconnect'
    | 'subscribeUrl'
    | 'transports'
    | 'unsubscribeUrl'
    | 'userStateUrl'
    | 'username'
    | 'websocketUrl'
    | 'WebSocket'
>;

/** Any setting of the connection, and a signal that ends it. */
export interface ConnectionOptions extends Partial<Settings> {
    /** Closes the connection for good when it is aborted. */
    signal?: AbortSignal;
}
