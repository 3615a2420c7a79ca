// What can be given to the constructor.
import type { Callbacks } from './callbacks.js';
import type { ChannelStreamConnection } from './connection.js';

type Settings = Pick<
    ChannelStreamConnection,
    | 'channels'
    | 'connectUrl'
    | 'debug'
    | 'disconnectUrl'
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
>;

/** Any property and any callback of the connection, and a signal that ends it. */
export interface Options extends Partial<Settings>, Partial<Callbacks> {
    /** When it is aborted, the connection is given up for good. */
    signal?: AbortSignal;
}
