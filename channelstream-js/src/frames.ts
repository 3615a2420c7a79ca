// The events as they come from the server (contract §7), and what the server answers.
//
// Times of the server are UTC, written without a zone: `2026-11-28T21:04:05.123456`. `new Date(text)`
// would take them for local time. `sentAt` is right, and `parseTimestamp` reads the others.

/** A user's state: scalars under names of the application. */
export type State = Record<string, string | number | boolean | null>;

/** What the client adds to a frame: not enumerable, so it is left out of JSON and of copies. */
export interface Dated {
    /** `timestamp` as an instant, to the millisecond. */
    readonly sentAt: Date;
}

/** A posted message. `channel` is null if it is private. */
export interface MessageFrame<Message = any> extends Dated {
    type: 'message';
    uuid: string;
    user: string;
    channel: string | null;
    message?: Message;
    /** UTC without a zone; see `sentAt`. */
    timestamp: string;
    /** UTC without a zone; `parseTimestamp` reads it. */
    edited: string | null;
    /** Whether it was sent while nobody listened. */
    catchup: boolean;
}

/** A message was edited: what is given of `user`, `message` and `timestamp` is new. */
export interface EditFrame<Message = any> extends Partial<Dated> {
    type: 'message:edit';
    uuid: string;
    channel: string | null;
    /** UTC without a zone; `parseTimestamp` reads it. */
    edited: string;
    user?: string;
    message?: Message;
    /** UTC without a zone; see `sentAt`. */
    timestamp?: string;
    catchup?: true;
}

/** A message was deleted. */
export interface DeleteFrame {
    type: 'message:delete';
    uuid: string;
    channel: string | null;
    catchup?: true;
}

/** A user came into a channel or left it. */
export interface PresenceFrame extends Dated {
    type: 'presence';
    uuid: string;
    user: string;
    channel: string;
    /** UTC without a zone; see `sentAt`. */
    timestamp: string;
    catchup: boolean;
    message: { action: 'joined' | 'parted' };
    /** Who is present now, if the channel tells it. */
    users: { user: string; state: State }[];
    /** The public state of who joined. */
    state: State | null;
}

/** A user's state changed, as far as it is public. */
export interface StateFrame extends Dated {
    type: 'user_state_change';
    uuid: string;
    user: string;
    channel: string;
    /** UTC without a zone; see `sentAt`. */
    timestamp: string;
    catchup: boolean;
    message: { state: State; changed: { key: string; value: State[string] }[] };
}

/** One event. `type` says which. */
export type Frame<Message = any> =
    | MessageFrame<Message>
    | EditFrame<Message>
    | DeleteFrame
    | PresenceFrame
    | StateFrame;

/** What is told of a channel (contract §6). */
export interface ChannelInfo {
    settings: Record<string, unknown>;
    uuid: string;
    /** UTC without a zone; `parseTimestamp` reads it. */
    last_active: string;
    total_users: number;
    total_connections: number;
    users: string[];
    history: MessageFrame[];
}

/** What is told of channels and their users. */
export interface ChannelsInfo {
    channels: Record<string, ChannelInfo>;
    users: { user: string; state: State }[];
}

/** What the server answers to `/connect`; the application may hand on more or less of it. */
export interface ConnectAnswer {
    conn_id: string;
    username: string;
    channels: string[];
    state: State;
    public_state: State;
    channels_info: ChannelsInfo;
    [more: string]: any;
}
