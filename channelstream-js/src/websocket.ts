// Events over a websocket.
import { type Rhythm, Watchdog } from './heartbeat.js';
import { urlFor } from './request.js';
import { type End, OPENING, type Transport, type TransportHandlers } from './transport.js';

/** The part of a WebSocket that the client uses. */
export interface WebSocketLike {
    readonly readyState: number;
    onopen: ((event: any) => void) | null;
    onmessage: ((event: any) => void) | null;
    onerror: ((event: any) => void) | null;
    onclose: ((event: any) => void) | null;
    send(text: string): void;
    close(): void;
}

export type WebSocketConstructor = new (url: string) => WebSocketLike;

/** A connection that no server knows: the server accepts the websocket and closes it with 1000. */
const NOBODY = '00000000-0000-4000-8000-000000000000';

/** Receives the websocket's own events as well. */
interface WebsocketHandlers extends TransportHandlers<Event, CloseEvent> {
    /** Something was wrong, but the transport goes on. */
    failed(message: string): void;
    /** The transport is about to end. */
    errored(event: Event): void;
}

/** The meaning of the server's close codes; any other code means that the TCP connection broke. */
const ENDS: Record<number, End> = { 1000: 'unknown', 1001: 'away', 1012: 'away', 1013: 'away' };

/** Removes all handlers and closes the socket. */
function leave(socket: WebSocketLike): void {
    socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
    socket.close();
}

export class WebsocketTransport implements Transport {
    readonly socket: WebSocketLike;
    #timer: ReturnType<typeof setTimeout>;
    #watchdog: Watchdog | undefined;

    /** Throws if this page cannot open a websocket to this URL. */
    constructor(
        WebSocket: WebSocketConstructor,
        url: string,
        rhythm: Rhythm,
        handlers: WebsocketHandlers,
    ) {
        const socket = (this.socket = new WebSocket(url));
        let received = false;
        const silent = () => {
            this.close();
            const reason = 'nothing was received';
            handlers.failed(`the websocket is given up: ${reason}`);
            // Node has had close events since version 23.
            const event = new (globalThis.CloseEvent ?? Event)('close', { code: 1006, reason });
            handlers.ended(received ? 'silent' : 'hung', event as CloseEvent);
        };
        this.#timer = setTimeout(silent, OPENING);
        socket.onopen = (event) => {
            clearTimeout(this.#timer);
            this.#watchdog = new Watchdog(rhythm, silent);
            handlers.opened(event);
        };
        socket.onmessage = ({ data }) => {
            received = true;
            this.#watchdog!.received(data === '[]');
            let list;
            try {
                list = JSON.parse(data);
            } catch {
                return handlers.failed('a frame is not JSON');
            }
            handlers.received(list);
        };
        socket.onerror = (event) => handlers.errored(event);
        socket.onclose = (event) => {
            this.close();
            // Proxies that do not know websockets cut them before anything arrives.
            const cut = !received && event.code === 1006;
            handlers.ended(cut ? 'refused' : (ENDS[event.code] ?? 'lost'), event);
        };
    }

    close(): void {
        clearTimeout(this.#timer);
        this.#watchdog?.stop();
        leave(this.socket);
    }

    check(): void {
        this.#watchdog?.check();
    }
}

/**
 * Tests whether a websocket gets through, without touching any connection of the page. Returns a
 * function that cancels the test.
 */
export function probe(
    WebSocket: WebSocketConstructor,
    url: string,
    done: (works: boolean) => void,
): () => void {
    let socket: WebSocketLike;
    try {
        socket = new WebSocket(urlFor(url, NOBODY));
    } catch {
        done(false);
        return () => {};
    }
    const stop = () => {
        clearTimeout(timer);
        leave(socket);
    };
    const finish = (works: boolean) => {
        stop();
        done(works);
    };
    const timer = setTimeout(finish, OPENING, false);
    socket.onclose = ({ code }) => finish(code === 1000);
    return stop;
}
