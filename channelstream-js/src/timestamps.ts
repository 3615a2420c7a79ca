// The server's timestamps, which are UTC without a time zone.

/** Parses a timestamp of the server, to the millisecond: UTC unless the text names a time zone. */
export function parseTimestamp(text: string): Date {
    // Not every engine parses digits after the milliseconds.
    const time = text.replace(/(\.\d{3})\d+/, '$1');
    return new Date(/(Z|[+-]\d\d:?\d\d)$/.test(time) ? time : `${time}Z`);
}

/** Gives each event that has a `timestamp` the same time as `sentAt`. */
export function addDates(events: any): void {
    if (!Array.isArray(events)) return;
    for (const event of events) {
        if (typeof event?.timestamp !== 'string') continue;
        const value = parseTimestamp(event.timestamp);
        Object.defineProperty(event, 'sentAt', { value, configurable: true, writable: true });
    }
}
