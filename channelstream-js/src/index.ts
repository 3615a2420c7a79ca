// What the package exports.
export { ChannelStreamConnection } from './connection.js';
export { ChannelStreamError } from './error.js';
export { ChannelStreamSigner } from './signer.js';
export { parseTimestamp } from './times.js';
export type { Callbacks, Events } from './callbacks.js';
export type {
    ChannelInfo,
    ChannelsInfo,
    ConnectAnswer,
    Dated,
    DeleteFrame,
    EditFrame,
    Frame,
    MessageFrame,
    PresenceFrame,
    State,
    StateFrame,
} from './frames.js';
export type { Mutator, Mutators, MutatorType } from './mutators.js';
export type { Options } from './options.js';
export type { AjaxRequest } from './request.js';
