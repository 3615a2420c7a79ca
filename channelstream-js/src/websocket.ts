// Frames over a websocket.
import type { End, Line, Listener } from './line.js';
import { Watchdog, type Rhythm } from './liveness.js';
import { urlFor } from './request.js';

/** So long may a handshake take; the server waits 15 s for it before it forgets a connection. */
const OPENING = 10_000;

/** A connection that no server knows: it opens the websocket and closes it with 1000. */
const NOBODY = '00000000-0000-4000-8000-000000000000';

/** Who is told of a websocket's own events, too. */
interface SocketListener extends Listener {
    /** It goes on, but something was wrong. */
    failed(message: string): void;
    /** It will end. */
    errored(event: Event): void;
}

/** What the close codes of the server say; others say that the line broke. */
const ENDS: Record<number, End> = { 1000: 'unknown', 1001: 'away', 1012: 'away', 1013: 'away' };

/** Takes all handlers off and closes it. */
function leave(socket: WebSocket): void {
    socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
    socket.close();
}

export class WebsocketLine implements Line {
    readonly socket: WebSocket;
    #timer: ReturnType<typeof setTimeout>;
    #dog: Watchdog | undefined;

    /** Throws if there can be no websocket to this URL from this page. */
    constructor(url: string, rhythm: Rhythm, listener: SocketListener) {
        const socket = (this.socket = new WebSocket(url));
        let heard = false;
        const silent = () => {
            this.close();
            const reason = 'nothing was heard';
            listener.failed(`the websocket is given up: ${reason}`);
            listener.ended(heard ? 'silent' : 'hung', new CloseEvent('close', { code: 1006, reason }));
        };
        this.#timer = setTimeout(silent, OPENING);
        socket.onopen = (event) => {
            clearTimeout(this.#timer);
            this.#dog = new Watchdog(rhythm, silent);
            listener.opened(event);
        };
        socket.onmessage = ({ data }) => {
            heard = true;
            this.#dog!.heard(data === '[]');
            let list;
            try {
                list = JSON.parse(data);
            } catch {
                return listener.failed('a frame is no JSON');
            }
            listener.heard(list);
        };
        socket.onerror = (event) => listener.errored(event);
        socket.onclose = (event) => {
            this.close();
            // Cut before anything came is what proxies do that do not know websockets.
            const cut = !heard && event.code === 1006;
            listener.ended(cut ? 'refused' : (ENDS[event.code] ?? 'lost'), event);
        };
    }

    close(): void {
        clearTimeout(this.#timer);
        this.#dog?.stop();
        leave(this.socket);
    }

    doubt(): void {
        this.#dog?.doubt();
    }
}

/**
 * Asks whether a websocket gets through, without touching any connection of the page. Returns
 * what ends the asking.
 */
export function probe(url: string, done: (works: boolean) => void): () => void {
    let socket: WebSocket;
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
    const tell = (works: boolean) => {
        stop();
        done(works);
    };
    const timer = setTimeout(tell, OPENING, false);
    socket.onclose = ({ code }) => tell(code === 1000);
    return stop;
}
