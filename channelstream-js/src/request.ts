// One request by XMLHttpRequest, as mutators and callbacks know it.

/** A request that is about to be sent; mutators may change it. */
export class AjaxRequest {
    /** Sent as JSON if it is anything. */
    body: any;
    url: string;
    headers: { name: string; value: string }[] = [];
    /** The request itself, once sent. */
    request: XMLHttpRequest | null = null;
    /** Milliseconds after which it has failed; 0: never. */
    timeout = 0;

    constructor(url: string, body: unknown = null) {
        this.url = url;
        this.body = body;
    }

    /** Called with the answer's JSON, or its text if it is none. */
    handleResponse(_xhr: XMLHttpRequest, _data: any): void {}

    /** Called for statuses from 400 and, with status 0, for requests without an answer. */
    handleError(_xhr: XMLHttpRequest, _data: any): void {}

    /** Called on each step on the way. */
    handleRequest(_xhr: XMLHttpRequest): void {}

    /** Sends it, by default by POST with a body and by GET without. */
    execute(verb?: string): void {
        const xhr = (this.request = new XMLHttpRequest());
        xhr.onreadystatechange = () => {
            if (xhr.readyState !== 4) return this.handleRequest(xhr);
            let data: unknown = xhr.responseText;
            try {
                data = JSON.parse(xhr.responseText);
            } catch {}
            if (xhr.status && xhr.status < 400) this.handleResponse(xhr, data);
            else this.handleError(xhr, data);
        };
        xhr.open(verb || (this.body ? 'POST' : 'GET'), this.url);
        xhr.timeout = this.timeout;
        if (this.body) xhr.setRequestHeader('Content-Type', 'application/json');
        for (const { name, value } of this.headers) xhr.setRequestHeader(name, value);
        xhr.send(this.body ? JSON.stringify(this.body) : null);
    }

    /** Ends it without a word to anybody. */
    abort(): void {
        const xhr = this.request;
        if (!xhr) return;
        xhr.onreadystatechange = null;
        xhr.abort();
    }
}

/** A URL for one connection. */
export function urlFor(url: string, id: string | null): string {
    return `${url}${url.includes('?') ? '&' : '?'}conn_id=${id}`;
}

/** Statuses from 400 to 499 that will pass: request timeout, too early, too many requests. */
const PASSING = [408, 425, 429];

/** Whether asking again would bring nothing else. */
export function isRefusal(status: number): boolean {
    return status >= 400 && status < 500 && !PASSING.includes(status);
}
