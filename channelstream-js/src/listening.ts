// Listening on a connection: by the first transport that gets through.
import { jittered } from './backoff.js';
import type { Connection } from './connection.js';
import { EventStream } from './event_stream.js';
import { Rhythm } from './heartbeat.js';
import { LongPoll } from './long_poll.js';
import { recall, remember } from './memory.js';
import { type Answer, type OutgoingRequest, urlFor } from './request.js';
import type { End, Transport, TransportName } from './transport.js';
import { probe, type WebSocketConstructor, type WebSocketLike, WebsocketTransport } from './websocket.js';

/** The ms between two heartbeats of the client. */
const HEARTBEAT = 10_000;

/** The ms after which a better transport is tried again; the delay doubles up to the longest. */
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
    /** The websocket or the event stream has ended; `recover` follows unless something else was started meanwhile. */
    closed(event: Event): void;
    /** A poll has failed; `recover` follows unless something else was started meanwhile. */
    unanswered(answer: Answer): void;
    /** The server does not know cursors of that form: they are another server's. */
    strange(): void;
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
    /** The transports that do not get through. */
    #failed = new Set<TransportName>();
    /** Whether another does since then. */
    #works = false;
    #hasRecalled = false;
    #cancelProbe: (() => void) | undefined;
    #probeDelay = FIRST_PROBE;
    #websocketRhythm = new Rhythm();
    #streamRhythm = new Rhythm();
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
        const possible = this.#possible;
        if (connection.remember && !this.#hasRecalled) {
            const before = possible.indexOf(recall(this.#server) as TransportName);
            this.#failed = new Set(possible.slice(0, Math.max(before, 0)));
        }
        this.#hasRecalled = true;
        const name = possible.find((name) => !this.#failed.has(name)) ?? possible.at(-1);
        if (name === 'poll') return this.openLongPoll(assured);
        if (name === 'eventStream') return this.#openEventStream();
        try {
            this.openWebsocket();
        } catch (error) {
            this.#handlers.failed('listenError', String(error));
            this.#ended('websocket', 'refused');
        }
    }

    openWebsocket(): void {
        this.stop();
        const transport: WebsocketTransport = new WebsocketTransport(
            this.#WebSocket!,
            this.#url(this.#connection.websocketUrl),
            this.#websocketRhythm,
            {
                opened: (event) => {
                    this.startHeartbeats();
                    this.#handlers.opened(event);
                },
                received: (data) => {
                    this.#probeDelay = FIRST_PROBE;
                    this.#received('websocket', data);
                },
                failed: (message) => this.#handlers.failed('listenMessage', message),
                errored: (event) => this.#handlers.errored(event),
                ended: (end, event) => {
                    if (this.#transport !== transport) return;
                    this.#clear();
                    const { epoch } = this;
                    this.#handlers.closed(event);
                    if (epoch === this.epoch) this.#ended('websocket', end);
                },
            },
        );
        this.#transport = transport;
        this.websocket = transport.socket;
    }

    openLongPoll(assured: boolean): void {
        this.stop();
        const url = () => this.#url(this.#connection.longPollUrl);
        this.#transport = new LongPoll(url, this.#pollRhythm, assured, this.#connection.fetch, {
            opened: (request) => this.#handlers.opened(request),
            received: (data) => {
                this.#received('poll', data);
            },
            ended: (end, answer) => {
                this.#clear();
                if (this.#isStrange(answer)) return;
                const { epoch } = this;
                this.#handlers.unanswered(answer);
                if (epoch !== this.epoch) return;
                // If polls do not get through either, the others are no worse.
                if (!this.#works && end !== 'unknown') this.#setFailed();
                this.#handlers.recover(end);
            },
        });
        if (this.#failed.size) this.#probeLater();
    }

    #openEventStream(): void {
        this.stop();
        const url = this.#url(this.#connection.eventStreamUrl);
        this.#transport = new EventStream(url, this.#streamRhythm, this.#connection.fetch, {
            opened: (request) => this.#handlers.opened(request),
            received: (data) => this.#received('eventStream', data),
            failed: (message) => this.#handlers.failed('listenMessage', message),
            ended: (end, answer) => {
                this.#clear();
                if (this.#isStrange(answer)) return;
                const { epoch } = this;
                this.#handlers.closed(new Event('close'));
                if (epoch === this.epoch) this.#ended('eventStream', end);
            },
        });
        if (this.#failed.size) this.#probeLater();
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
        if (this.#failed.size && this.#transport) this.#probe();
    }

    startHeartbeats(): void {
        if (!this.#connection.heartbeats) return;
        this.#heartbeatTimer ??= setInterval(() => {
            if (this.#connection.heartbeats && this.websocket?.readyState === 1)
                this.websocket.send('{"type":"heartbeat"}');
        }, HEARTBEAT);
    }

    /** The transports that can work here, in order. */
    get #possible(): TransportName[] {
        const { transports, noWebsocket, eventStreamUrl, cursor } = this.#connection;
        const can = {
            websocket: noWebsocket === false,
            // What was sent just before it breaks is recovered by the cursor alone.
            eventStream: eventStreamUrl && cursor !== false,
            poll: true,
        };
        const possible = transports.filter((name) => can[name]);
        return possible.length ? possible : ['poll'];
    }

    /** What stands for the server in the browser's memory. */
    get #server(): string {
        return this.#connection.websocketUrl || this.#connection.longPollUrl;
    }

    #url(url: string): string {
        return urlFor(url, this.#connection.connectionId, this.#connection.cursor);
    }

    get #WebSocket(): WebSocketConstructor | undefined {
        return this.#connection.WebSocket ?? globalThis.WebSocket;
    }

    #clear(): void {
        this.#transport = null;
        clearInterval(this.#heartbeatTimer);
        this.#heartbeatTimer = undefined;
    }

    #received(name: TransportName, data: unknown): void {
        const connection = this.#connection;
        if (connection.remember && !this.#works) {
            remember(this.#server, this.#failed.size ? name : undefined);
        }
        this.#works = true;
        this.#handlers.received(data);
    }

    /** A websocket or an event stream ended: the next transport takes over if this one does not get through. */
    #ended(name: TransportName, end: End): void {
        // The server still believes in a websocket that hung. A stream's events are recovered by the cursor.
        const atOnce = end === 'refused' || (end === 'hung' && name === 'eventStream');
        if (atOnce || end === 'hung') this.#setFailed(name);
        const isOver = this.#possible.every((name) => this.#failed.has(name));
        if (isOver) this.#setFailed();
        else if (atOnce && this.#connection.shouldReconnect) return this.start(false);
        this.#handlers.recover(end);
    }

    /** One more transport does not get through, or all of them may. */
    #setFailed(name?: TransportName): void {
        if (name) this.#failed.add(name);
        else this.#failed.clear();
        this.#works = false;
        if (!name) this.#stopProbing();
    }

    /** Begins anew if the server refused the cursor; returns whether it did. */
    #isStrange({ status }: Answer): boolean {
        const { cursor, shouldReconnect } = this.#connection;
        if (status !== 422 || !cursor || !shouldReconnect) return false;
        // That is why the websocket was refused.
        this.#setFailed();
        const { epoch } = this;
        this.#handlers.strange();
        if (epoch === this.epoch) this.start(true);
        return true;
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

    /** Returns to the websocket as soon as one gets through; tries the event stream instead of polls in earnest. */
    #probe(): void {
        this.#stopProbing();
        const done = (works: boolean) => {
            this.#cancelProbe = undefined;
            const transport = this.#transport;
            const polls = transport instanceof LongPoll;
            if (works) this.#setFailed();
            else if (!polls || !this.#failed.delete('eventStream')) return this.#probeLater();
            // After the pending poll; a stream goes on from the cursor.
            if (polls) transport.replaceBy(() => this.start(true));
            else if (transport) this.start(true);
        };
        if (!this.#failed.has('websocket')) return done(false);
        this.#cancelProbe = probe(this.#WebSocket!, this.#connection.websocketUrl, done);
    }
}
