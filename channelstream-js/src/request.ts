// One request by `fetch`, and its answer.

/** The part of `fetch` that the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** The answer to a request. */
export class Answer {
    /** The JSON of the answer, or its text if it is not JSON. */
    readonly data: any;

    constructor(
        /** 0 if there was no answer. */
        readonly status: number,
        readonly text = '',
        readonly response?: Response,
        /** Why there was no answer. */
        readonly cause?: unknown,
    ) {
        this.data = text;
        try {
            this.data = JSON.parse(text);
        } catch {}
    }

    get ok(): boolean {
        return this.status > 0 && this.status < 400;
    }
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
            return new Answer(response.status, await response.text(), response);
        } catch (cause) {
            return new Answer(0, '', undefined, cause);
        } finally {
            clearTimeout(timer);
        }
    }

    abort(): void {
        this.#controller.abort();
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
