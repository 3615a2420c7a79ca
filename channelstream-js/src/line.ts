// What the two transports have in common: a line on which frames come until it ends.

/**
 * Why a line ended. `refused`: it never worked, and the server likely did not see it. `hung`: it
 * never worked either, but the server may believe it open. `silent`: it worked, and nothing comes any
 * more. `unknown`: the server does not know the connection. `away`: the server ended it and said
 * that it cannot serve now. `lost`: it broke.
 */
export type End = 'refused' | 'hung' | 'silent' | 'unknown' | 'away' | 'lost';

/** Who is told of what happens on a line. */
export interface Listener {
    opened(detail: any): void;
    heard(data: any): void;
    /** What the callback of its end is told; after it nothing more comes. */
    ended(end: End, ...told: any[]): void;
}

export interface Line {
    /** Ends it; nobody is told. */
    close(): void;
    /** The machine slept, or its network changed: is the line alive? */
    doubt(): void;
}
