// Listening on a connection: by websocket, or by long polling where websockets do not get through.
import { jittered } from './backoff.js';
import type { Connection } from './connection.js';
import { Rhythm } from './heartbeat.js';
import { LongPoll } from './long_poll.js';
import { type Answer, type OutgoingRequest, urlFor } from './request.js';
import type { End, Transport } from './transport.js';
import { probe, type WebSocketConstructor, type WebSocketLike, WebsocketTransport } from './websocket.js';

/** The ms between two heartbeats of the client. */
const HEARTBEAT = 10_000;

/** The ms after which long polling tries the websocket again; the delay doubles up to the longest. */
const FIRST_PROBE = 10_000;
const LONGEST_PROBE = 600_000;

/** Receives what happens while listening. */
interface Handlers {
    opened(detail: Event | OutgoingRequest): void;
    received(data: unknown): void;
    /** The websocket reports an error, and ends soon. */
    errored(event: Event): void;
    /** The websocket received a frame that is not JSON, or could not be opened. */
    failed(source: string, message: string): void;
    /** The websocket has ended; `recover` follows unless something else was started meanwhile. */
    closed(event: CloseEvent): void;
    /** A poll has failed; `recover` follows unless something else was started meanwhile. */
    unanswered(answer: Answer): void;
    recover(end: End): void;
}

export class Listening {
    /** The newest websocket. */
    websocket: WebSocketLike | null = null;
    /** Changes whenever a transport or an attempt is replaced. */
    epoch = 0;
    #connection: Connection<any>;
    #handlers: Handlers;
    #transport: Transport | null = null;
    #heartbeatTimer: ReturnType<typeof setInterval> | undefined;
    /** Whether websockets do not get through. */
    #blocked = false;
    /** Whether polls do, while websockets do not. */
    #polled = false;
    #cancelProbe: (() => void) | undefined;
    #probeDelay = FIRST_PROBE;
    #websocketRhythm = new Rhythm();
    #pollRhythm = new Rhythm();

    constructor(connection: Connection<any>, handlers: Handlers) {
        this.#connection = connection;
        this.#handlers = handlers;
    }

    get active(): boolean {
        return this.#transport !== null;
    }

    get onWebsocket(): boolean {
        return this.#transport instanceof WebsocketTransport;
    }

    /** `assured`: the server answered a moment ago. */
    start(assured: boolean): void {
        const connection = this.#connection;
        if (connection.noWebsocket !== false || !this.#WebSocket) connection.noWebsocket = true;
        if (connection.noWebsocket || this.#blocked) return this.openLongPoll(assured);
        try {
            this.openWebsocket();
        } catch (error) {
            this.#handlers.failed('listenError', String(error));
            this.#websocketEnded('refused');
        }
    }

    openWebsocket(): void {
        this.stop();
        const transport: WebsocketTransport = new WebsocketTransport(
            this.#WebSocket!,
            urlFor(this.#connection.websocketUrl, this.#connection.connectionId),
            this.#websocketRhythm,
            {
                opened: (event) => {
                    this.startHeartbeats();
                    this.#handlers.opened(event);
                },
                received: (data) => {
                    this.#probeDelay = FIRST_PROBE;
                    this.#handlers.received(data);
                },
                failed: (message) => this.#handlers.failed('listenMessage', message),
                errored: (event) => this.#handlers.errored(event),
                ended: (end, event) => {
                    if (this.#transport !== transport) return;
                    this.#clear();
                    const { epoch } = this;
                    this.#handlers.closed(event);
                    if (epoch === this.epoch) this.#websocketEnded(end);
                },
            },
        );
        this.#transport = transport;
        this.websocket = transport.socket;
    }

    openLongPoll(assured: boolean): void {
        this.stop();
        const url = urlFor(this.#connection.longPollUrl, this.#connection.connectionId);
        this.#transport = new LongPoll(url, this.#pollRhythm, assured, this.#connection.fetch, {
            opened: (request) => this.#handlers.opened(request),
            received: (data) => {
                this.#polled = true;
                this.#handlers.received(data);
            },
            ended: (end, answer) => {
                this.#clear();
                const { epoch } = this;
                this.#handlers.unanswered(answer);
                if (epoch !== this.epoch) return;
                // If polls do not get through either, websockets are no worse.
                if (!this.#polled && end !== 'unknown') this.#setBlocked(false);
                this.#handlers.recover(end);
            },
        });
        if (this.#blocked) this.#probeLater();
    }

    /** Ends the transport without calling a handler. */
    stop(): void {
        this.epoch += 1;
        this.#stopProbing();
        this.#transport?.close();
        this.#clear();
    }

    /** The machine slept, or its network changed. */
    check(): void {
        this.#transport?.check();
        if (this.#blocked && this.#transport) this.#probe();
    }

    startHeartbeats(): void {
        if (!this.#connection.heartbeats) return;
        this.#heartbeatTimer ??= setInterval(() => {
            if (this.#connection.heartbeats && this.websocket?.readyState === 1)
                this.websocket.send('{"type":"heartbeat"}');
        }, HEARTBEAT);
    }

    get #WebSocket(): WebSocketConstructor | undefined {
        return this.#connection.WebSocket ?? globalThis.WebSocket;
    }

    #clear(): void {
        this.#transport = null;
        clearInterval(this.#heartbeatTimer);
        this.#heartbeatTimer = undefined;
    }

    #websocketEnded(end: End): void {
        if (end === 'refused' && this.#connection.shouldReconnect) {
            this.#setBlocked(true);
            return this.openLongPoll(false);
        }
        if (end === 'hung') this.#setBlocked(true);
        this.#handlers.recover(end);
    }

    #setBlocked(blocked: boolean): void {
        this.#blocked = blocked;
        this.#polled = false;
        if (!blocked) this.#stopProbing();
    }

    #stopProbing(): void {
        this.#cancelProbe?.();
        this.#cancelProbe = undefined;
    }

    #probeLater(): void {
        this.#stopProbing();
        const timer = setTimeout(() => this.#probe(), jittered(this.#probeDelay));
        this.#probeDelay = Math.min(this.#probeDelay * 2, LONGEST_PROBE);
        this.#cancelProbe = () => clearTimeout(timer);
    }

    /** Returns to the websocket as soon as one gets through, after the pending poll. */
    #probe(): void {
        this.#stopProbing();
        this.#cancelProbe = probe(this.#WebSocket!, this.#connection.websocketUrl, (works) => {
            this.#cancelProbe = undefined;
            if (!works) return this.#probeLater();
            this.#setBlocked(false);
            if (this.#transport instanceof LongPoll) this.#transport.replaceBy(() => this.start(true));
        });
    }
}
