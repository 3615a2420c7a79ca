// A connection to the push server, through the application: the class that pages use.
import { jittered, longer } from './backoff.js';
import { addDefaults, type Asked, type Callbacks, type Events } from './callbacks.js';
import { ChannelStreamError, report } from './error.js';
import type { ChannelsInfo, ConnectAnswer, Frame } from './frames.js';
import { FrameQueue } from './iterator.js';
import type { End, Line } from './line.js';
import { Rhythm } from './liveness.js';
import { noMutators, type Mutator, type Mutators, type MutatorType } from './mutators.js';
import type { Options } from './options.js';
import { PollLine } from './polling.js';
import { AjaxRequest, isRefusal, urlFor } from './request.js';
import { addDates } from './times.js';
import { watch } from './wake.js';
import { probe, WebsocketLine } from './websocket.js';

/** Between two heartbeats of ours. */
const HEARTBEAT = 10_000;
/** So long a POST to connect may take. */
const CONNECTING = 30_000;
/** So long the same connection is tried: the server forgets it by then. */
const RESUMING = 15_000;
/** From long polling the websocket is tried again after so long, then after ever longer. */
const FIRST_PROBE = 10_000;
const LONGEST_PROBE = 600_000;

type Timer = ReturnType<typeof setTimeout>;

export interface ChannelStreamConnection extends Callbacks {
    addEventListener<Name extends keyof Events>(
        type: Name,
        listener: (this: ChannelStreamConnection, event: CustomEvent<Events[Name]>) => void,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener<Name extends keyof Events>(
        type: Name,
        listener: (this: ChannelStreamConnection, event: CustomEvent<Events[Name]>) => void,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | EventListenerOptions,
    ): void;
}

/**
 * Connects a user, listens, and comes back after whatever happens to the network. All methods
 * return at once; what comes of them is told by callbacks and by events of the same names.
 */
export class ChannelStreamConnection extends EventTarget {
    /** The version of this client. */
    static get version(): string {
        return VERSION;
    }

    /** Makes callbacks that are not overwritten log to the console. */
    debug = false;
    /** The channels to connect to; later those that the server named last. */
    channels: string[] = [];
    username: any = 'Anonymous';
    /** The id of the newest connection. */
    connectionId: string | null = null;
    /** The newest websocket. */
    websocket: WebSocket | null = null;
    websocketUrl = '';
    longPollUrl = '';
    connectUrl = '';
    disconnectUrl = '';
    subscribeUrl = '';
    unsubscribeUrl = '';
    userStateUrl = '';
    messageUrl = '';
    messageEditUrl = '';
    messageDeleteUrl = '';
    /** Whether to come back when the connection is lost. */
    shouldReconnect = true;
    /**
     * Whether to come back with the same connection where the line broke a moment ago: the server
     * sends what was missed, and `connectCallback` is not called again. Else, and always where
     * frames may be gone, each return is a `connect()`. True if the constructor was given options:
     * pages that were written for older clients, which give none, draw themselves anew in
     * `connectCallback`.
     */
    resume = false;
    /** Whether to send heartbeats. */
    heartbeats = true;
    /** The first delay before a return, in ms, and by how much each next one is longer. */
    increaseBounceIv = 2000;
    /** The present delay. */
    _currentBounceIv = 0;
    /** Anything but false: long polling alone. */
    noWebsocket: boolean = false;
    /** Whether it listens. */
    connected = false;
    /** Functions that change requests before they are sent. */
    mutators: Mutators = noMutators();

    #signal: AbortSignal | undefined;
    #line: Line | null = null;
    #connecting: AjaxRequest | null = null;
    #retryTimer: Timer | undefined;
    #heartbeatTimer: Timer | undefined;
    /** Changes whenever a line or an attempt is no longer the present one. */
    #epoch = 0;
    /** Whether the connection is no longer good, so that only `connect()` helps. */
    #stale = false;
    /** When the connection was lost that is to be resumed. */
    #lostAt = 0;
    #asleep = false;
    #unwatch: (() => void) | undefined;
    /** Whether websockets do not get through. */
    #broken = false;
    /** Whether polls do, while websockets do not. */
    #polled = false;
    #probing: (() => void) | undefined;
    #probeDelay = FIRST_PROBE;
    #socketRhythm = new Rhythm();
    #pollRhythm = new Rhythm();
    #queues = new Set<FrameQueue>();
    /** What is asked once there is a connection. */
    #waiting: (() => void)[] = [];

    constructor(options?: Options) {
        super();
        if (!options) return;
        const { signal, ...settings } = options;
        this.resume = true;
        Object.assign(this, settings);
        this.#signal = signal;
        signal?.addEventListener('abort', () => {
            this.disconnect();
        });
    }

    /** Adds a function that changes requests of that type before they are sent. */
    addMutator(type: MutatorType, func: Mutator): void {
        this.mutators[type].push(func);
    }

    /**
     * Connects the user to `channels`, and listens. Throws if the signal is aborted or `connectUrl`
     * is not set.
     *
     * An application that answers with a status from 400 to 499 does not want this user: after
     * `connectError` comes `refused`, and nothing is tried again until `connect()` is called. 408,
     * 425 and 429 ask for patience, and are retried like failures.
     */
    connect(): void {
        this.#signal?.throwIfAborted();
        const { username, channels } = this;
        const request = this.#request('connect', 'connect', { username, channels });
        this.#drop();
        this.#stale = true;
        this.#asleep = false;
        this.#unwatch ??= watch(
            () => this.#wake(),
            () => this.#sleep(),
        );
        const epoch = this.#epoch;
        this.#connecting = request;
        const failed = (xhr: XMLHttpRequest, data: unknown) => {
            this.#connecting = null;
            this.connected = false;
            const refused = isRefusal(xhr.status);
            const again = !refused && this.#retry();
            this.#failed('connect', xhr, data);
            // The page may have called connect() in the meantime.
            if (again || epoch !== this.#epoch) return;
            this.#endQueues();
            if (refused) this.#tell('refused', xhr, data);
        };
        request.timeout = CONNECTING;
        request.handleError = failed;
        request.handleResponse = (xhr, data: ConnectAnswer) => {
            if (!data?.conn_id) return failed(xhr, data);
            this.#connecting = null;
            this.#stale = false;
            this.#lostAt = 0;
            this.connectionId = data.conn_id;
            this.#setChannels(data);
            this.#tell('connect', xhr, data);
            if (epoch !== this.#epoch) return;
            for (const ask of this.#waiting.splice(0)) ask();
            this.startListening(xhr, data);
        };
        request.execute('POST');
    }

    /** Joins more channels. Throws if `subscribeUrl` is not set; waits until there is a connection. */
    subscribe(channels: string[]): void {
        this.#aboutConnection('subscribe', 'subscribe', (conn_id) => ({ channels, conn_id }));
    }

    /** Leaves channels. Throws if `unsubscribeUrl` is not set; waits until there is a connection. */
    unsubscribe(channels: string[]): void {
        this.#aboutConnection('unsubscribe', 'unsubscribe', (conn_id) => ({ channels, conn_id }));
    }

    /**
     * Changes the user's state; the application gets it as `update_state`. Throws if `userStateUrl`
     * is not set; waits until there is a connection.
     */
    updateUserState(state: any): void {
        this.#aboutConnection('setUserState', 'userState', (conn_id) => ({
            username: this.username,
            conn_id,
            update_state: state,
        }));
    }

    /** Sends a message, as the application wants it. Throws if `messageUrl` is not set. */
    message(message: any): void {
        this.#request('message', 'message', message).execute('POST');
    }

    /** Edits a message. Throws if `messageEditUrl` is not set. */
    edit(message: any): void {
        this.#request('messageEdit', 'messageEdit', message).execute('PATCH');
    }

    /** Deletes a message. Throws if `messageDeleteUrl` is not set. */
    delete(message: any): void {
        const request = this.#request('messageDelete', 'messageDelete', null);
        request.body = message;
        request.execute('DELETE');
    }

    /**
     * Ends the connection on the server, if `disconnectUrl` is set, and `closeConnection()`. If the
     * answer to `connect()` is still to come, it is waited for, and the connection in it is ended.
     */
    disconnect(): void {
        const connecting = this.#connecting;
        if (connecting && this.disconnectUrl) {
            this.#connecting = null;
            connecting.handleError = () => {};
            connecting.handleResponse = (_xhr, data) => {
                const id = data?.conn_id;
                // An application may name the same connection to a connect() that came after.
                const isUsed = id === this.connectionId && (this.#line || this.#connecting);
                if (!isUsed) this.#disconnect(id);
            };
        }
        this.#disconnect(this.connectionId);
        this.closeConnection();
    }

    /**
     * Stops listening, and whatever was on the way to it or waited for a connection. `connect()`
     * begins anew.
     */
    closeConnection(): void {
        this.#drop();
        this.#unwatch?.();
        this.#unwatch = undefined;
        this.#endQueues();
        this.#waiting = [];
        this.#tell('connectionClosed');
    }

    /** Listens on the present connection. */
    startListening(request: XMLHttpRequest, data: ConnectAnswer): void {
        const epoch = this.#epoch;
        this.#tell('beforeListening', request, data);
        if (epoch === this.#epoch) this.#listen(true);
    }

    /** Listens by websocket. */
    openWebsocket(): void {
        this.#leaveLine();
        this.#stopProbing();
        const line: WebsocketLine = new WebsocketLine(
            urlFor(this.websocketUrl, this.connectionId),
            this.#socketRhythm,
            {
                opened: (event) => this.#opened(event),
                heard: (list) => this.#heard(list),
                failed: (message) => this.#error('listenMessage', message),
                errored: (event) => {
                    this.connected = false;
                    this.#tell('listenError', event);
                },
                ended: (end, event: CloseEvent) => {
                    if (this.#line !== line) return;
                    this.#lost();
                    const epoch = this.#epoch;
                    this.#tell('listenClose', event);
                    if (epoch === this.#epoch) this.#websocketEnded(end);
                },
            },
        );
        this.#line = line;
        this.websocket = line.socket;
    }

    /** Listens by long polling. */
    openLongPoll(): void {
        this.#poll(true);
    }

    /** Comes back by `connect()` in a while, unless `shouldReconnect` is false. */
    retryConnection(): void {
        this.#stale = true;
        this.#retry();
    }

    /** Starts the heartbeats of this side. */
    createHeartBeats(): void {
        if (!this.heartbeats) return;
        this.#heartbeatTimer ??= setInterval(() => {
            if (this.heartbeats && this.websocket?.readyState === 1)
                this.websocket.send('{"type":"heartbeat"}');
        }, HEARTBEAT);
    }

    /** Those of the channels that are not in `channels`. */
    calculateSubscribe(channels: string[]): string[] {
        return channels.filter((channel) => !this.channels.includes(channel));
    }

    /** Those of the channels that are in `channels`. */
    calculateUnsubscribe(channels: string[] = []): string[] {
        return channels.filter((channel) => this.channels.includes(channel));
    }

    /**
     * The frames from now on, one by one, until the connection is closed: by `disconnect()`,
     * `closeConnection()`, the signal, or for good by the other side.
     */
    [Symbol.asyncIterator](): AsyncIterableIterator<Frame> {
        const queue = new FrameQueue(() => this.#queues.delete(queue));
        this.#queues.add(queue);
        if (this.#signal?.aborted) queue.end();
        return queue;
    }

    #disconnect(id: string | null | undefined): void {
        if (!id || !this.disconnectUrl) return;
        const url = urlFor(this.disconnectUrl, id);
        this.#request('disconnect', 'disconnect', { conn_id: id }, url).execute('POST');
    }

    /** Asks about the connection, by its id: now, or as soon as a connect under way has brought it. */
    #aboutConnection(asked: Asked, type: MutatorType, body: (id: string) => unknown): void {
        const isComing =
            this.#stale && (this.#connecting || this.#retryTimer !== undefined || this.#asleep);
        if (this.connectionId && !isComing) {
            const request = this.#request(asked, type, body(this.connectionId));
            // A mutator may have found that there is nothing to join.
            if (asked !== 'subscribe' || request.body.channels?.length) request.execute('POST');
            return;
        }
        // A mutator may set it.
        if (!this.mutators[type]?.length) this.#urlOf(type);
        this.#waiting.push(() => {
            try {
                this.#aboutConnection(asked, type, body);
            } catch (error) {
                report(error);
            }
        });
    }

    #urlOf(type: MutatorType): string {
        const url = this[`${type}Url`];
        if (!url) throw new ChannelStreamError(type, `${type}Url is not set`);
        return url;
    }

    /** A request that tells what became of it; mutators have seen it. Throws if it has no URL. */
    #request(asked: Asked, type: MutatorType, body: unknown, url?: string): AjaxRequest {
        const request = new AjaxRequest(url ?? this[`${type}Url`], body);
        request.handleError = (xhr, data) => this.#failed(asked, xhr, data);
        for (const mutate of this.mutators[type] ?? []) mutate(request);
        if (!request.url) this.#urlOf(type);
        request.handleResponse = (xhr, data) => {
            if (asked.endsWith('subscribe')) this.#setChannels(data);
            this.#tell(asked, xhr, data);
        };
        return request;
    }

    #setChannels(data: { channels?: string[]; channels_info?: ChannelsInfo }): void {
        for (const { history } of Object.values(data?.channels_info?.channels ?? {})) {
            addDates(history);
        }
        if (data?.channels) this.channels = data.channels;
        this.#tell('channelsChanged', this.channels);
    }

    #tell(name: keyof Events, ...told: any[]): void {
        try {
            (this as any)[`${name}Callback`]?.(...told);
        } catch (error) {
            report(error);
        }
        const [request, data] = told;
        const detail = told.length > 1 ? { request, data, status: request?.status } : request;
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }

    #failed(asked: Asked, xhr: XMLHttpRequest, data: unknown): void {
        this.#tell(`${asked}Error`, xhr, data);
        this.#error(`${asked}Error`, `${asked}: status ${xhr.status}`, xhr, data);
    }

    #error(source: string, message: string, xhr?: XMLHttpRequest, data?: unknown): void {
        this.#tell('error', new ChannelStreamError(source, message, xhr, data));
    }

    /** Ends what listens or is on the way to it, without a word. */
    #drop(): void {
        this.#leaveLine();
        this.#stopProbing();
        this.#connecting?.abort();
        this.#connecting = null;
        clearTimeout(this.#retryTimer);
        this.#retryTimer = undefined;
    }

    #leaveLine(): void {
        this.#epoch += 1;
        this.#line?.close();
        this.#lost();
    }

    /** The line is gone. */
    #lost(): void {
        this.#line = null;
        this.connected = false;
        clearInterval(this.#heartbeatTimer);
        this.#heartbeatTimer = undefined;
    }

    #endQueues(): void {
        for (const queue of this.#queues) queue.end();
    }

    #listen(assured: boolean): void {
        if (this.noWebsocket !== false || typeof WebSocket === 'undefined') this.noWebsocket = true;
        if (this.noWebsocket || this.#broken) return this.#poll(assured);
        try {
            this.openWebsocket();
        } catch (error) {
            this.#error('listenError', String(error));
            this.#websocketEnded('refused');
        }
    }

    #poll(assured: boolean): void {
        this.#leaveLine();
        const url = urlFor(this.longPollUrl, this.connectionId);
        const line: Line = new PollLine(url, this.#pollRhythm, assured, {
            opened: (request) => this.#opened(request),
            heard: (list) => {
                this.#polled = true;
                this.#heard(list);
            },
            ended: (end, xhr: XMLHttpRequest, data) => {
                this.#lost();
                const epoch = this.#epoch;
                this.#tell('listenError', xhr, data);
                this.#error('listenError', `listen: status ${xhr.status}`, xhr, data);
                if (epoch !== this.#epoch) return;
                // If polls do not get through either, websockets are as good as they.
                if (!this.#polled && end !== 'unknown') this.#setBroken(false);
                this.#back(end);
            },
        });
        this.#line = line;
        if (this.#broken) this.#probeLater();
    }

    #opened(detail: Event | AjaxRequest): void {
        this.connected = true;
        if (detail instanceof Event) this.createHeartBeats();
        this.#tell('listenOpened', detail);
    }

    #heard(list: any): void {
        this._currentBounceIv = 0;
        this.#lostAt = 0;
        if (this.#line instanceof WebsocketLine) this.#probeDelay = FIRST_PROBE;
        if (Array.isArray(list)) {
            addDates(list);
            for (const queue of this.#queues) list.forEach((frame) => queue.push(frame));
        }
        this.#tell('listenMessage', list);
    }

    #websocketEnded(end: End): void {
        if (end === 'refused' && this.shouldReconnect) {
            this.#setBroken(true);
            return this.#poll(false);
        }
        if (end === 'hung') {
            this.#setBroken(true);
        }
        this.#back(end);
    }

    #setBroken(broken: boolean): void {
        this.#broken = broken;
        this.#polled = false;
        if (!broken) this.#stopProbing();
    }

    #stopProbing(): void {
        this.#probing?.();
        this.#probing = undefined;
    }

    #probeLater(): void {
        this.#stopProbing();
        const timer = setTimeout(() => this.#probe(), jittered(this.#probeDelay));
        this.#probeDelay = Math.min(this.#probeDelay * 2, LONGEST_PROBE);
        this.#probing = () => clearTimeout(timer);
    }

    /** Goes back to the websocket as soon as one gets through, after the poll that waits now. */
    #probe(): void {
        this.#stopProbing();
        this.#probing = probe(this.websocketUrl, (works) => {
            this.#probing = undefined;
            if (!works) return this.#probeLater();
            this.#setBroken(false);
            const line = this.#line;
            if (line instanceof PollLine) line.relieve(() => this.#listen(true));
        });
    }

    /** Comes back after a line ended, if it should. */
    #back(end: End): void {
        const resumed = this.#lostAt !== 0;
        this.#lostAt ||= performance.now();
        // What the server sends into a line that died in silence counts as sent, and is not caught
        // up: only the history in a new answer has it. Also, while it believes that a websocket is
        // open, polls on that connection stay empty.
        if (/unknown|hung|silent/.test(end) || navigator.onLine === false) this.#stale = true;
        // At once where that helps: the server was there, or forgets who is away for long.
        const soon = this.resume && (end === 'unknown' ? resumed : !resumed && end === 'lost');
        if (!this.#retry(soon)) this.#endQueues();
    }

    /** Whether there will be a return. */
    #retry(soon = false): boolean {
        if (!this.shouldReconnect || this.#signal?.aborted) return false;
        if (this.#retryTimer !== undefined) return true;
        if (!soon) this._currentBounceIv = longer(this._currentBounceIv, this.increaseBounceIv);
        const delay = soon ? 100 : this._currentBounceIv;
        this.#retryTimer = setTimeout(() => this.#again(), jittered(delay));
        return true;
    }

    #again(): void {
        clearTimeout(this.#retryTimer);
        this.#retryTimer = undefined;
        const away = this.#lostAt && performance.now() - this.#lostAt;
        if (this.resume && this.connectionId && !this.#stale && away < RESUMING) {
            return this.#listen(false);
        }
        try {
            this.connect();
        } catch (error) {
            // A mutator of the page.
            report(error);
            this.#retry();
        }
    }

    #wake(): void {
        if (this.#asleep || this.#retryTimer !== undefined) {
            this.#asleep = false;
            return this.#again();
        }
        this.#line?.doubt();
        if (this.#broken && this.#line) this.#probe();
    }

    /** Lets go of everything: a page with open lines is not kept for the way back. */
    #sleep(): void {
        if (!this.#line && !this.#connecting && this.#retryTimer === undefined) return;
        // The server forgets who closed a websocket.
        this.#stale ||= this.#line instanceof WebsocketLine;
        this.#drop();
        this.#asleep = true;
    }
}

addDefaults(ChannelStreamConnection.prototype);

/** Set by the build, from package.json. */
declare const VERSION: string;
