// The callbacks and events of a connection: their names, and what each is told.
import type { ChannelStreamError } from './error.js';
import type { ConnectAnswer, Frame } from './frames.js';
import type { AjaxRequest } from './request.js';

/** To be overwritten by the page, or by a class that extends the connection. */
export interface Callbacks {
    /** The application connected the user; listening comes next. */
    connectCallback(request: XMLHttpRequest, data: ConnectAnswer): void;
    /** It did not, or could not be reached. */
    connectErrorCallback(request: XMLHttpRequest, data: any): void;
    /**
     * The application answered connect with a status from 400 to 499 (but 408, 425 and 429): it is
     * not asked again until `connect()` is called. Comes after `connectErrorCallback`.
     */
    refusedCallback(request: XMLHttpRequest, data: any): void;
    /** Just before a websocket or poll is opened. */
    beforeListeningCallback(request: XMLHttpRequest, data: ConnectAnswer): void;
    /** Listening: the websocket's event, or the poll's request. */
    listenOpenedCallback(detail: Event | AjaxRequest): void;
    /** A list of frames; empty for a heartbeat. */
    listenMessageCallback(frames: Frame[]): void;
    /** The websocket was closed, but not by this side. */
    listenCloseCallback(event: CloseEvent): void;
    /** The websocket failed (its event), or a poll (its request, and what was answered). */
    listenErrorCallback(detail: Event | XMLHttpRequest, data?: any): void;
    /** `closeConnection()` is done. */
    connectionClosedCallback(): void;
    /** After each connect, subscribe and unsubscribe. */
    channelsChangedCallback(channels: string[]): void;
    disconnectCallback(request: XMLHttpRequest, data: any): void;
    disconnectErrorCallback(request: XMLHttpRequest, data: any): void;
    subscribeCallback(request: XMLHttpRequest, data: any): void;
    subscribeErrorCallback(request: XMLHttpRequest, data: any): void;
    unsubscribeCallback(request: XMLHttpRequest, data: any): void;
    unsubscribeErrorCallback(request: XMLHttpRequest, data: any): void;
    messageCallback(request: XMLHttpRequest, data: any): void;
    messageErrorCallback(request: XMLHttpRequest, data: any): void;
    messageEditCallback(request: XMLHttpRequest, data: any): void;
    messageEditErrorCallback(request: XMLHttpRequest, data: any): void;
    messageDeleteCallback(request: XMLHttpRequest, data: any): void;
    messageDeleteErrorCallback(request: XMLHttpRequest, data: any): void;
    setUserStateCallback(request: XMLHttpRequest, data: any): void;
    setUserStateErrorCallback(request: XMLHttpRequest, data: any): void;
    /** Whatever went wrong, beside the callback of its own. */
    errorCallback(error: ChannelStreamError): void;
}

type Asking<Data = any> = { request: XMLHttpRequest; data: Data; status: number };

type Detail<Told> = Told extends []
    ? null
    : Told extends [XMLHttpRequest, infer Data]
      ? Asking<Data>
      : Told extends [infer Only]
        ? Only
        : Event | Asking;

/** The `detail` of each event: events are named as callbacks are, without `Callback`. */
export type Events = {
    [Key in keyof Callbacks as Key extends `${infer Name}Callback` ? Name : never]: Detail<
        Parameters<Callbacks[Key]>
    >;
};

/** What of a request has callbacks for success and failure. */
export type Asked =
    | 'connect'
    | 'disconnect'
    | 'message'
    | 'messageDelete'
    | 'messageEdit'
    | 'setUserState'
    | 'subscribe'
    | 'unsubscribe';

const ASKED: Asked[] = [
    'connect',
    'disconnect',
    'message',
    'messageDelete',
    'messageEdit',
    'setUserState',
    'subscribe',
    'unsubscribe',
];

const NAMES: (keyof Events)[] = [
    ...ASKED,
    ...ASKED.map((name): `${Asked}Error` => `${name}Error`),
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

/** Gives a prototype the callbacks that are called where the page has none. */
export function addDefaults(prototype: any): void {
    for (const name of NAMES) {
        const callback = `${name}Callback`;
        prototype[callback] = function (this: { debug: boolean }, ...told: unknown[]) {
            if (this.debug) console.log(callback, ...told);
        };
    }
}
