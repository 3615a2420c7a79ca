// The errors of the client.
import type { Answer } from './request.js';

/** A failed request, or a connection that was lost. */
export class ChannelStreamError extends Error {
    override name = 'ChannelStreamError';
    /** The HTTP status of the answer; 0 if there was none. */
    readonly status: number;
    /** The answer: its JSON, or its text if it is not JSON. */
    readonly data: unknown;

    constructor(
        /** What failed, such as `connectError`: the name of a callback without `Callback`. */
        readonly source: string,
        message: string,
        /** @internal */
        readonly answer?: Answer,
    ) {
        super(message, { cause: answer?.cause });
        this.status = answer?.status ?? 0;
        this.data = answer?.data;
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
