// Waiting for a condition: the only way in which these tests let time pass.
import { setTimeout as pause } from 'node:timers/promises';

/** Resolves with what `condition` gives as soon as that is truthy; fails after `limit` ms. */
export async function until(condition, what, limit = 15_000) {
    const end = Date.now() + limit;
    for (;;) {
        const value = await condition();
        if (value) return value;
        if (Date.now() > end) {
            throw new Error(`waited ${limit} ms in vain: ${typeof what === 'function' ? await what() : what}`);
        }
        await pause(20);
    }
}
