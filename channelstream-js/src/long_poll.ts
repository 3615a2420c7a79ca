// Events over long polls, one poll after the other.
import type { Rhythm } from './heartbeat.js';
import { type Answer, type Fetch, OutgoingRequest } from './request.js';
import type { Transport, TransportHandlers } from './transport.js';

/** An empty answer that arrives sooner did not wait: the next poll is sent after a pause. */
const TOO_SOON = 500;

export class LongPoll implements Transport {
    #request: OutgoingRequest | undefined;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #closed = false;
    #successor: (() => void) | undefined;

    /** `urlNow`: the URL of each poll, which says how far the page is. `assured`: the server answered a moment ago, so the transport counts as open before the first answer. */
    constructor(
        urlNow: () => string,
        rhythm: Rhythm,
        assured: boolean,
        fetch: Fetch | undefined,
        handlers: TransportHandlers<OutgoingRequest, Answer>,
    ) {
        let opened = false;
        const open = (request: OutgoingRequest) => {
            if (!opened) handlers.opened(request);
            opened = true;
        };
        const poll = async () => {
            const request = (this.#request = new OutgoingRequest(urlNow()));
            const start = performance.now();
            const { limit } = rhythm;
            const answering = request.send('GET', limit, fetch);
            if (assured && !this.#closed) open(request);
            const answer = await answering;
            if (this.#closed) return;
            const took = performance.now() - start;
            const { data } = answer;
            if (!answer.ok || !Array.isArray(data)) {
                this.close();
                const end = answer.status === 401 ? 'unknown' : took >= limit ? 'silent' : 'lost';
                return handlers.ended(end, answer);
            }
            const waited = took > TOO_SOON;
            if (!data.length && waited) rhythm.record(took);
            open(request);
            if (!this.#closed) handlers.received(data);
            if (this.#closed) return;
            if (this.#successor) this.#successor();
            else if (data.length || waited) void poll();
            else this.#timer = setTimeout(poll, 1000);
        };
        // Not at once: the owner has to store the transport first.
        this.#timer = setTimeout(poll);
    }

    /** Calls `successor` after the pending poll, instead of polling again. */
    replaceBy(successor: () => void): void {
        this.#successor = successor;
    }

    close(): void {
        this.#closed = true;
        clearTimeout(this.#timer);
        this.#request?.abort();
    }

    // Each poll has its own timeout.
    check(): void {}
}
