// What the package exports.
export { ChannelStreamConnection } from './compat.js';
export { ChannelStreamError } from './error.js';
export { ChannelStreamSigner } from './signer.js';
export { parseTimestamp } from './timestamps.js';
export type { Connection } from './connection.js';
export type { ConnectionEvents, ConnectionState } from './events.js';
export type { Mutator, Mutators, MutatorType } from './mutators.js';
export type { ConnectionOptions } from './options.js';
export type {
    AppendAnswer,
    ChannelInfo,
    ChannelsAnswer,
    ChannelsInfo,
    ConnectAnswer,
    Dated,
    Gap,
    Growing,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    MessageStatus,
    PresenceChanged,
    ServerEvent,
    State,
    UserStateChanged,
} from './protocol.js';
export type { Fetch, OutgoingRequest } from './request.js';
export type { TransportName } from './transport.js';
export type { WebSocketConstructor, WebSocketLike } from './websocket.js';
// For older clients.
export type {
    AjaxRequest,
    AnsweredRequest,
    Callbacks,
    DeleteFrame,
    EditFrame,
    Events,
    Frame,
    MessageFrame,
    Options,
    PresenceFrame,
    StateFrame,
} from './compat.js';
