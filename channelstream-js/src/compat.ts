// The members of older clients, on top of the current ones: callbacks, DOM events, old names.
import { type Call, Connection, type Notice } from './connection.js';
import { ChannelStreamError, report } from './error.js';
import type { ConnectionOptions } from './options.js';
import type {
    ConnectAnswer,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PresenceChanged,
    ServerEvent,
    UserStateChanged,
} from './protocol.js';
import type { Answer, OutgoingRequest } from './request.js';

/** The part of an XMLHttpRequest that describes an answer: requests are sent by `fetch`. */
export type AnsweredRequest = Pick<
    XMLHttpRequest,
    | 'getResponseHeader'
    | 'readyState'
    | 'response'
    | 'responseText'
    | 'responseURL'
    | 'status'
    | 'statusText'
>;

declare module './error.js' {
    interface ChannelStreamError {
        /** The request that failed, if one did. */
        readonly request?: AnsweredRequest;
    }
}

/** Methods that a page, or a class that extends the connection, can replace. */
export interface Callbacks<Payload = unknown> {
    /** The application connected the user; listening comes next. */
    connectCallback(request: AnsweredRequest, data: ConnectAnswer<Payload>): void;
    /** The application did not connect the user, or could not be reached. */
    connectErrorCallback(request: AnsweredRequest, data: any): void;
    /**
     * The application answered connect with a status from 400 to 499 (but 408, 425 and 429), and is
     * not asked again until `connect()` is called. Comes after `connectErrorCallback`.
     */
    refusedCallback(request: AnsweredRequest, data: any): void;
    /** A websocket or poll is about to be opened. */
    beforeListeningCallback(request: AnsweredRequest, data: ConnectAnswer<Payload>): void;
    /** Listening has begun: the websocket's event, or the poll's request. */
    listenOpenedCallback(detail: Event | OutgoingRequest): void;
    /** A list of events; empty for a heartbeat. */
    listenMessageCallback(events: ServerEvent<Payload>[]): void;
    /** The websocket was closed, but not by this side. */
    listenCloseCallback(event: CloseEvent): void;
    /** The websocket failed (its event), or a poll did (its request and answer). */
    listenErrorCallback(detail: Event | AnsweredRequest, data?: any): void;
    /** `closeConnection()` is done. */
    connectionClosedCallback(): void;
    /** After each connect, subscribe and unsubscribe. */
    channelsChangedCallback(channels: string[]): void;
    disconnectCallback(request: AnsweredRequest, data: any): void;
    disconnectErrorCallback(request: AnsweredRequest, data: any): void;
    cancelCallback(request: AnsweredRequest, data: any): void;
    cancelErrorCallback(request: AnsweredRequest, data: any): void;
    subscribeCallback(request: AnsweredRequest, data: any): void;
    subscribeErrorCallback(request: AnsweredRequest, data: any): void;
    unsubscribeCallback(request: AnsweredRequest, data: any): void;
    unsubscribeErrorCallback(request: AnsweredRequest, data: any): void;
    messageCallback(request: AnsweredRequest, data: any): void;
    messageErrorCallback(request: AnsweredRequest, data: any): void;
    messageEditCallback(request: AnsweredRequest, data: any): void;
    messageEditErrorCallback(request: AnsweredRequest, data: any): void;
    messageDeleteCallback(request: AnsweredRequest, data: any): void;
    messageDeleteErrorCallback(request: AnsweredRequest, data: any): void;
    setUserStateCallback(request: AnsweredRequest, data: any): void;
    setUserStateErrorCallback(request: AnsweredRequest, data: any): void;
    /** Anything that failed, after the callback of its own. */
    errorCallback(error: ChannelStreamError): void;
}

type Answered<Data = any> = { request: AnsweredRequest; data: Data; status: number };

type Detail<Given> = Given extends []
    ? null
    : Given extends [AnsweredRequest, infer Data]
      ? Answered<Data>
      : Given extends [infer Only]
        ? Only
        : Event | Answered;

/** The `detail` of each DOM event. The events have the names of the callbacks, without `Callback`. */
export type Events<Payload = unknown> = {
    [Name in Notice]: Detail<Parameters<Callbacks<Payload>[`${Name}Callback`]>>;
};

/** Any setting and any callback of the connection, and a signal that ends it. */
export interface Options<Payload = unknown> extends ConnectionOptions, Partial<Callbacks<Payload>> {
    debug?: boolean;
}

export interface ChannelStreamConnection<Payload = unknown> extends Callbacks<Payload> {
    /** Makes callbacks that are not replaced log to the console. */
    debug: boolean;

    addEventListener<Name extends Notice>(
        type: Name,
        listener: (
            this: ChannelStreamConnection<Payload>,
            event: CustomEvent<Events<Payload>[Name]>,
        ) => void,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener<Name extends Notice>(
        type: Name,
        listener: (
            this: ChannelStreamConnection<Payload>,
            event: CustomEvent<Events<Payload>[Name]>,
        ) => void,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | EventListenerOptions,
    ): void;
}

/**
 * Connects a user, listens, and returns after whatever happens to the network. What becomes of a call
 * is reported by the promise that it returns, by the events of `on`, and, as in older clients, by
 * callbacks and by DOM events of the same names.
 */
export class ChannelStreamConnection<Payload = unknown> extends Connection<Payload> {
    constructor(options?: Options<Payload>) {
        super(options);
    }

    // `super`, because a class that was written for an older client may have members of the new names.

    /** Whether it listens: the state is `open`. */
    get connected(): boolean {
        return super.state === 'open';
    }

    // Pages could assign it.
    set connected(_connected: boolean) {}

    /** The newest websocket. */
    get websocket(): WebSocket | null {
        return this._listening.websocket as WebSocket | null;
    }

    /** The current delay before a return, in ms. */
    get _currentBounceIv(): number {
        return this._recovery.delay;
    }

    set _currentBounceIv(delay: number) {
        this._recovery.delay = delay;
    }

    /** The old name of `publish()`. */
    message<Data = unknown>(message: unknown): Promise<Data> {
        return super.publish(message);
    }

    /** The old name of `close()`. */
    closeConnection(): void {
        super.close();
    }

    /** Listens on the current connection. */
    startListening(request: AnsweredRequest, data: ConnectAnswer<Payload>): void {
        this._listen(() => this._notify('beforeListening', request, data));
    }

    /** Listens by websocket. */
    openWebsocket(): void {
        this._listening.openWebsocket();
    }

    /** Listens by long polling. */
    openLongPoll(): void {
        this._listening.openLongPoll(true);
    }

    /** Returns by `connect()` after a delay, unless `shouldReconnect` is false. */
    retryConnection(): void {
        this._recovery.stale = true;
        this._recovery.retry();
    }

    /** Starts the heartbeats of the client. */
    createHeartBeats(): void {
        this._listening.startHeartbeats();
    }

    /** Returns those of the channels that are not in `channels`. */
    calculateSubscribe(channels: string[]): string[] {
        return channels.filter((channel) => !this.channels.includes(channel));
    }

    /** Returns those of the channels that are in `channels`. */
    calculateUnsubscribe(channels: string[] = []): string[] {
        return channels.filter((channel) => this.channels.includes(channel));
    }

    /** @internal */
    protected override _answered(notice: Notice, answer: Answer): void {
        this._notify(notice, requestOf(answer), answer.data);
    }

    /** @internal */
    protected override _notify(notice: Notice, ...details: any[]): void {
        try {
            (this as any)[`${notice}Callback`]?.(...details);
        } catch (error) {
            report(error);
        }
        const [request, data] = details;
        const detail = details.length > 1 ? { request, data, status: request?.status } : request;
        this.dispatchEvent(new CustomEvent(notice, { detail }));
    }
}

/** Presents an answer as the XMLHttpRequest that brought it. */
function requestOf({ status, text, response }: Answer): AnsweredRequest {
    const request: AnsweredRequest = {
        readyState: 4,
        status,
        statusText: response?.statusText ?? '',
        response: text,
        responseText: text,
        responseURL: response?.url ?? '',
        getResponseHeader: (name) => response?.headers.get(name) ?? null,
    };
    // Pages may test for the class.
    return Object.setPrototypeOf(request, globalThis.XMLHttpRequest?.prototype ?? null);
}

const CALLS: Call[] = [
    'cancel',
    'connect',
    'disconnect',
    'message',
    'messageDelete',
    'messageEdit',
    'setUserState',
    'subscribe',
    'unsubscribe',
];

const NOTICES: Notice[] = [
    ...CALLS,
    ...CALLS.map((call): `${Call}Error` => `${call}Error`),
    'beforeListening',
    'channelsChanged',
    'connectionClosed',
    'error',
    'listenClose',
    'listenError',
    'listenMessage',
    'listenOpened',
    'refused',
];

for (const notice of NOTICES) {
    const callback = `${notice}Callback`;
    (ChannelStreamConnection.prototype as any)[callback] = function (
        this: ChannelStreamConnection,
        ...details: unknown[]
    ) {
        if (this.debug) console.log(callback, ...details);
    };
}
ChannelStreamConnection.prototype.debug = false;

Object.defineProperty(ChannelStreamError.prototype, 'request', {
    get(this: ChannelStreamError) {
        return this.answer && requestOf(this.answer);
    },
});

/** The old names of types. */
export type AjaxRequest = OutgoingRequest;
export type Frame<Message = any> = ServerEvent<Message>;
export type MessageFrame<Message = any> = MessagePosted<Message>;
export type EditFrame<Message = any> = MessageEdited<Message>;
export type DeleteFrame = MessageDeleted;
export type PresenceFrame = PresenceChanged;
export type StateFrame = UserStateChanged;
