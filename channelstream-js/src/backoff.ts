// The delay before the next attempt.

const LONGEST = 60_000;

/** Returns the next delay: one step longer, up to a minute. */
export function longer(delay: number, step: number): number {
    return Math.min(delay + step, LONGEST);
}

/** Returns a random time between half of a delay and all of it, so that pages that lost their server at once return one by one. */
export function jittered(delay: number): number {
    return delay * (0.5 + Math.random() / 2);
}
