// The events as the server sends them (contract §7), and its answers.
//
// Times of the server are UTC, written without a time zone: `2026-11-28T21:04:05.123456`.
// `new Date(text)` would take them for local time. `sentAt` is right, and `parseTimestamp` parses the
// others.

/** A user's state: scalars under names that the application chooses. */
export type State = Record<string, string | number | boolean | null>;

/** What the client adds to an event. It is not enumerable, so JSON and copies do not contain it. */
export interface Dated {
    /** `timestamp` as a `Date`, to the millisecond. */
    readonly sentAt: Date;
}

/** What a growing message has besides, and each event to a connection that asks for cursors. */
export interface Growing {
    /** Absent from messages that do not grow. */
    status?: MessageStatus;
    /** How often a growing message changed. */
    rev?: number;
    /** Where the event stands among all events; see `cursor` of the connection. */
    seq?: string;
}

/** `open` and `stalled` messages may still grow. */
export type MessageStatus = 'open' | 'done' | 'cancelled' | 'failed' | 'stalled';

/** A message was posted. */
export interface MessagePosted<Payload = unknown> extends Dated, Growing {
    type: 'message';
    uuid: string;
    user: string;
    /** `null` if the message is private. */
    channel: string | null;
    message?: Payload;
    /** UTC without a time zone; see `sentAt`. */
    timestamp: string;
    /** UTC without a time zone; `parseTimestamp` parses it. */
    edited: string | null;
    /** When the server forgets it, if it was published with `expires`; UTC without a time zone. */
    expires_at?: string;
    /** Whether it was sent while the connection had no listener. */
    catchup: boolean;
}

/** A message was edited. `user`, `message` and `timestamp` are present if they changed. */
export interface MessageEdited<Payload = unknown> extends Partial<Dated>, Growing {
    type: 'message:edit';
    uuid: string;
    channel: string | null;
    /** UTC without a time zone; `parseTimestamp` parses it. */
    edited: string;
    user?: string;
    message?: Payload;
    /** UTC without a time zone; see `sentAt`. */
    timestamp?: string;
    catchup?: true;
}

/** A message was deleted. */
export interface MessageDeleted {
    type: 'message:delete';
    uuid: string;
    channel: string | null;
    catchup?: true;
    seq?: string;
}

/** An open message grew, or its status changed. It counts only for a message whose `rev` is `from`. */
export interface MessageAppended {
    type: 'message:append';
    uuid: string;
    channel: string | null;
    /** What comes behind the text or list of each key; a key that begins with `/` is a JSON Pointer. */
    append: Record<string, string | unknown[]>;
    from: number;
    rev: number;
    /** Present if it changed. */
    status?: MessageStatus;
    catchup?: true;
    seq?: string;
}

/** Events were lost: the server does not have them any more. */
export interface Gap {
    type: 'gap';
    /** The channel whose events were lost. Absent: private ones. `null`: any of the connection's. */
    channel?: string | null;
    /** `epoch`: the server started anew, or is another one. */
    reason: 'evicted' | 'epoch' | 'window';
    seq?: string;
    /** It is about no single event. */
    uuid?: never;
}

/** A user joined a channel or left it. */
export interface PresenceChanged extends Dated {
    type: 'presence';
    uuid: string;
    user: string;
    channel: string;
    seq?: string;
    /** UTC without a time zone; see `sentAt`. */
    timestamp: string;
    catchup: boolean;
    message: { action: 'joined' | 'parted' };
    /** The users who are present now, if the channel is configured to send them. */
    users: { user: string; state: State }[];
    /** The public state of the user who joined. */
    state: State | null;
}

/** The public part of a user's state changed. */
export interface UserStateChanged extends Dated {
    type: 'user_state_change';
    uuid: string;
    user: string;
    channel: string;
    seq?: string;
    /** UTC without a time zone; see `sentAt`. */
    timestamp: string;
    catchup: boolean;
    message: { state: State; changed: { key: string; value: State[string] }[] };
}

/** One event; `type` tells which. */
export type ServerEvent<Payload = unknown> =
    | MessagePosted<Payload>
    | MessageEdited<Payload>
    | MessageDeleted
    | MessageAppended
    | Gap
    | PresenceChanged
    | UserStateChanged;

/** A channel as the server describes it (contract §6). */
export interface ChannelInfo<Payload = unknown> {
    settings: Record<string, unknown>;
    uuid: string;
    /** UTC without a time zone; `parseTimestamp` parses it. */
    last_active: string;
    total_users: number;
    total_connections: number;
    users: string[];
    history: MessagePosted<Payload>[];
}

/** The server's answer to an append, a change of status or a cancel. */
export interface AppendAnswer {
    uuid: string;
    channel: string | null;
    /** Whether it was done; if not, `reason` may say why. */
    taken: boolean;
    reason?: string;
    status?: MessageStatus;
    rev?: number;
    size?: number;
}

/** Channels and their users. */
export interface ChannelsInfo<Payload = unknown> {
    channels: Record<string, ChannelInfo<Payload>>;
    users: { user: string; state: State }[];
}

/** The server's answer to `/connect`; the application may pass on more or less of it. */
export interface ConnectAnswer<Payload = unknown> {
    conn_id: string;
    username: string;
    channels: string[];
    state: State;
    public_state: State;
    channels_info: ChannelsInfo<Payload>;
    [more: string]: any;
}

/** The server's answer to `/subscribe` and `/unsubscribe`; the application may pass on more or less of it. */
export interface ChannelsAnswer<Payload = unknown> {
    channels: string[];
    channels_info: ChannelsInfo<Payload>;
    [more: string]: any;
}
