// One request by `fetch`, and its answer.

/** The part of `fetch` that the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** The answer to a request. */
export interface Answer {
    /** Whether the status is below 400. */
    ok: boolean;
    /** 0 if there was no answer. */
    status: number;
    text: string;
    /** The JSON of the answer, or its text if it is not JSON. */
    data: any;
    response?: Response;
    /** Why there was no answer. */
    cause?: unknown;
}

/** A request that is about to be sent; mutators may change its fields. */
export class OutgoingRequest {
    /** Sent as JSON unless it is falsy. */
    body: any;
    url: string;
    headers: { name: string; value: string }[] = [];
    credentials: RequestCredentials = 'same-origin';
    #controller = new AbortController();

    constructor(url: string, body: unknown = null) {
        this.url = url;
        this.body = body;
    }

    /**
     * Sends the request. The promise never rejects: a request that fails, that is aborted or that
     * takes longer than `timeout` ms resolves with status 0.
     */
    async send(method: string, timeout?: number, send: Fetch = globalThis.fetch): Promise<Answer> {
        const timer = timeout && setTimeout(() => this.abort(), timeout);
        try {
            const { credentials, body } = this;
            const headers = new Headers();
            for (const { name, value } of this.headers) headers.append(name, value);
            if (body && !headers.has('content-type')) headers.set('content-type', 'application/json');
            const response = await send(this.url, {
                method,
                headers,
                credentials,
                body: body ? JSON.stringify(body) : null,
                signal: this.#controller.signal,
            });
            const { status } = response;
            const text = await response.text();
            return { ok: status < 400, status, text, data: parsed(text), response };
        } catch (cause) {
            return { ok: false, status: 0, text: '', data: '', cause };
        } finally {
            clearTimeout(timer);
        }
    }

    abort(): void {
        this.#controller.abort();
    }
}

/** Parses JSON; returns other texts as they are. */
function parsed(text: string): unknown {
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}

/** Returns the URL of one connection. */
export function urlFor(url: string, id: string | null): string {
    return `${url}${url.includes('?') ? '&' : '?'}conn_id=${id}`;
}

/** Statuses from 400 to 499 that pass: request timeout, too early, too many requests. */
const PASSING = [408, 425, 429];

/** Returns `true` if the same request would be refused again. */
export function isRefusal(status: number): boolean {
    return status >= 400 && status < 500 && !PASSING.includes(status);
}
