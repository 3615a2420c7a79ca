// The options of the constructor.
import type { Connection } from './connection.js';

type Settings = Pick<
    Connection,
    | 'channels'
    | 'connectUrl'
    | 'credentials'
    | 'disconnectUrl'
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
    | 'resume'
    | 'shouldReconnect'
    | 'subscribeUrl'
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
