// Frames over long polls, one after the other.
import type { Line, Listener } from './line.js';
import type { Rhythm } from './liveness.js';
import { AjaxRequest } from './request.js';

/** An empty answer that came sooner is none that waited: the next question takes its time. */
const TOO_SOON = 500;

export class PollLine implements Line {
    #request: AjaxRequest | undefined;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #closed = false;
    #relief: (() => void) | undefined;

    /** `assured`: the server was just heard of, so the line counts as open before it answers. */
    constructor(url: string, rhythm: Rhythm, assured: boolean, listener: Listener) {
        let opened = false;
        const open = (request: AjaxRequest) => {
            if (!opened) listener.opened(request);
            opened = true;
        };
        const ask = () => {
            const request = (this.#request = new AjaxRequest(url));
            const start = performance.now();
            request.timeout = rhythm.limit;
            request.handleResponse = (xhr, data) => {
                if (!Array.isArray(data)) return request.handleError(xhr, data);
                const took = performance.now() - start;
                if (!data.length && took > TOO_SOON) rhythm.beat(took);
                open(request);
                if (!this.#closed) listener.heard(data);
                if (this.#closed) return;
                if (this.#relief) this.#relief();
                else if (data.length || took > TOO_SOON) ask();
                else this.#timer = setTimeout(ask, 1000);
            };
            request.handleError = (xhr, data) => {
                this.close();
                const silent = performance.now() - start >= request.timeout;
                const end = xhr.status === 401 ? 'unknown' : silent ? 'silent' : 'lost';
                listener.ended(end, xhr, data);
            };
            request.execute();
            if (assured && !this.#closed) open(request);
        };
        // Not at once: whoever makes the line has to know it first.
        this.#timer = setTimeout(ask);
    }

    /** Calls `relief` after the poll that waits now, in place of the next one. */
    relieve(relief: () => void): void {
        this.#relief = relief;
    }

    close(): void {
        this.#closed = true;
        clearTimeout(this.#timer);
        this.#request?.abort();
    }

    // Each poll has its own time-out.
    doubt(): void {}
}
