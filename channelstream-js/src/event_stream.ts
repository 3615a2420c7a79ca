// Events over one answer that does not end: an event stream, read by `fetch`, since `EventSource` does
// not tell the status of the answer and does not exist in Node.
import { type Rhythm, Watchdog } from './heartbeat.js';
import { type Answer, type Fetch, OutgoingRequest } from './request.js';
import { type End, OPENING, type Transport, type TransportHandlers } from './transport.js';

/** A server that asks not to be called for longer than this has another listener for the connection. */
const NEVER = 3_600_000;

/** The most characters of one event, so that a peer cannot fill the memory. */
const LARGEST = 2 ** 24;

/** Receives what went wrong as well. */
interface EventStreamHandlers extends TransportHandlers<OutgoingRequest, Answer> {
    /** Something was wrong, but the transport goes on. */
    failed(message: string): void;
}

export class EventStream implements Transport {
    #request: OutgoingRequest;
    #timer: ReturnType<typeof setTimeout>;
    #watchdog: Watchdog | undefined;
    #closed = false;

    constructor(
        url: string,
        rhythm: Rhythm,
        fetch: Fetch | undefined,
        handlers: EventStreamHandlers,
    ) {
        const request = (this.#request = new OutgoingRequest(url));
        let status = 0;
        let last = 0;
        const end = (end: End, cause?: unknown) => {
            if (this.#closed) return;
            this.close();
            handlers.ended(end, { ok: false, status, text: '', data: '', cause });
        };
        const silent = () => {
            handlers.failed('the event stream is given up: nothing was received');
            end(this.#watchdog ? 'silent' : 'hung');
        };
        // The server sends something at once: else a proxy holds it back.
        this.#timer = setTimeout(silent, OPENING);
        const read = async (): Promise<End> => {
            const response = await request.open('GET', fetch);
            ({ status } = response);
            if (status === 204 || status === 401) return 'unknown';
            if (status !== 200) return 'refused';
            const reader = response.body!.getReader();
            const decoder = new TextDecoder();
            const parser = new Parser();
            for (;;) {
                const { done, value } = await reader.read();
                if (this.#closed) return 'lost';
                if (done) return parser.end;
                const { events, beat } = parser.take(decoder.decode(value, { stream: true }), handlers);
                const now = performance.now();
                // Heartbeats come when nothing else has come for their interval.
                if (beat && this.#watchdog) rhythm.record(now - last);
                last = now;
                if (this.#watchdog) this.#watchdog.received(false);
                else {
                    clearTimeout(this.#timer);
                    this.#watchdog = new Watchdog(rhythm, silent);
                    handlers.opened(request);
                }
                if (!this.#closed && (beat || events.length)) handlers.received(events);
            }
        };
        read().then(end, (cause) => end(this.#watchdog ? 'lost' : 'refused', cause));
    }

    close(): void {
        this.#closed = true;
        clearTimeout(this.#timer);
        this.#watchdog?.stop();
        this.#request.abort();
    }

    check(): void {
        this.#watchdog?.check();
    }
}

/** Makes events of the text of an event stream. */
class Parser {
    /** What it means if the stream ends now. */
    end: End = 'lost';
    #rest = '';
    #id: string | undefined;
    #data: string | undefined;
    #hasBegun = false;

    /** Takes more text. Returns the events that are whole with it, and whether there was a heartbeat. */
    take(text: string, handlers: EventStreamHandlers): { events: unknown[]; beat: boolean } {
        const events: unknown[] = [];
        let beat = false;
        const lines = text.split('\n');
        lines[0] = this.#rest + lines[0];
        this.#rest = lines.pop()!;
        // The stream breaks off, as if the line were cut.
        if (this.#rest.length > LARGEST) throw new Error('an event is too large');
        for (const line of lines) {
            const [, name, value] = /^([^:\r]*):? ?(.*?)\r?$/s.exec(line)!;
            // A comment with words tells why the stream ends.
            if (line.startsWith(':')) beat ||= line.trim() === ':';
            else if (name === 'id') this.#id = value!;
            else if (name === 'data') this.#data = value!;
            else if (name === 'retry') {
                // The first is a setting; a later one announces the end.
                if (this.#hasBegun) this.end = Number(value) > NEVER ? 'unknown' : 'away';
                this.#hasBegun = true;
            } else if (!name) {
                const event = this.#event(handlers);
                if (event) events.push(event);
            }
        }
        return { events, beat };
    }

    #event(handlers: EventStreamHandlers): unknown {
        const [data, seq] = [this.#data, this.#id];
        this.#data = this.#id = undefined;
        if (data === undefined) return seq && { type: 'cursor', seq };
        try {
            return { ...JSON.parse(data), ...(seq && { seq }) };
        } catch {
            handlers.failed('an event is not JSON');
        }
        return;
    }
}
