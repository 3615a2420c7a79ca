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
            const response = await this.open(method, send);
            const { status } = response;
            const text = await response.text();
            return { ok: status < 400, status, text, data: parsed(text), response };
        } catch (cause) {
            return { ok: false, status: 0, text: '', data: '', cause };
        } finally {
            clearTimeout(timer);
        }
    }

    /** Sends the request. The promise resolves as soon as the answer begins, and rejects if there is none. */
    async open(method: string, send: Fetch = globalThis.fetch): Promise<Response> {
        const { credentials, body } = this;
        const headers = new Headers();
        for (const { name, value } of this.headers) headers.append(name, value);
        if (body && !headers.has('content-type')) headers.set('content-type', 'application/json');
        return send(this.url, {
            method,
            headers,
            credentials,
            body: body ? JSON.stringify(body) : null,
            signal: this.#controller.signal,
        });
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

/** Returns the URL of one connection; that of listening names the cursor unless it is `false`. */
export function urlFor(url: string, id: string | null, cursor: string | null | false = false): string {
    const since = cursor === false ? '' : `&since=${encodeURIComponent(cursor ?? '')}`;
    return `${url}${url.includes('?') ? '&' : '?'}conn_id=${id}${since}`;
}

/** Statuses from 400 to 499 that pass: request timeout, too early, too many requests. */
const PASSING = [408, 425, 429];

/** Returns `true` if the same request would be refused again. */
export function isRefusal(status: number): boolean {
    return status >= 400 && status < 500 && !PASSING.includes(status);
}
