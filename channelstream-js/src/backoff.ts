// How long to wait before the next attempt.

const LONGEST = 60_000;

/** The delay after this one: a step more, up to a minute. */
export function longer(delay: number, step: number): number {
    return Math.min(delay + step, LONGEST);
}

/** Between half of a delay and all of it, so that pages that were cut off together come back one by one. */
export function jittered(delay: number): number {
    return delay * (0.5 + Math.random() / 2);
}
