// The error that the event `error` carries.

/** What went wrong, for people and for logs. */
export class ChannelStreamError extends Error {
    override name = 'ChannelStreamError';

    constructor(
        /** What failed: the name of a callback without `Callback`, such as `connectError`. */
        readonly source: string,
        message: string,
        /** The request that failed, if one did. */
        readonly request?: XMLHttpRequest,
        /** The answer to it: JSON, or text if it is none. */
        readonly data?: unknown,
    ) {
        super(message);
    }
}

/** Hands an error of the page's own code to the page, as if nobody had caught it. */
export function report(error: unknown): void {
    if (typeof reportError === 'function') reportError(error);
    else
        setTimeout(() => {
            throw error;
        });
}
