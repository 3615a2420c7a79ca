// The server's times, which are UTC without a zone, as instants.

/** The instant of a time as the server writes it: UTC, unless the text names a zone. To the ms. */
export function parseTimestamp(text: string): Date {
    // Digits behind the milliseconds are no part of the format that every engine reads.
    const time = text.replace(/(\.\d{3})\d+/, '$1');
    return new Date(/(Z|[+-]\d\d:?\d\d)$/.test(time) ? time : `${time}Z`);
}

/** Gives each frame that has a `timestamp` the same as `sentAt`. */
export function addDates(frames: any): void {
    if (!Array.isArray(frames)) return;
    for (const frame of frames) {
        if (typeof frame?.timestamp !== 'string') continue;
        const value = parseTimestamp(frame.timestamp);
        Object.defineProperty(frame, 'sentAt', { value, configurable: true, writable: true });
    }
}
