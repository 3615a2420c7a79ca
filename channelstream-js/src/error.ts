// The errors of the client.
import type { Answer } from './request.js';

/** A failed request, or a connection that was lost. */
export class ChannelStreamError extends Error {
    override name = 'ChannelStreamError';
    constructor(
        /** What failed, such as `connectError`: the name of a callback without `Callback`. */
        readonly source: string,
        message: string,
        /** @internal */
        readonly answer?: Answer,
    ) {
        super(message, { cause: answer?.cause });
    }

    /** The HTTP status of the answer; 0 if there was none. */
    get status(): number {
        return this.answer?.status ?? 0;
    }

    /** The answer: its JSON, or its text if it is not JSON. */
    get data(): unknown {
        return this.answer?.data;
    }
}

/** Reports an error of the page's own code as an uncaught error, without stopping the client. */
export function report(error: unknown): void {
    if (typeof reportError === 'function') reportError(error);
    else
        setTimeout(() => {
            throw error;
        });
}
