// Frames for `for await`: a queue between those who bring them and the one who takes them.
import type { Frame } from './frames.js';

export class FrameQueue implements AsyncIterableIterator<Frame> {
    #frames: Frame[] = [];
    #waiting: ((result: IteratorResult<Frame, undefined>) => void)[] = [];
    #ended = false;
    #gone: (queue: FrameQueue) => void;

    /** `gone` is called when nobody takes frames any more. */
    constructor(gone: (queue: FrameQueue) => void) {
        this.#gone = gone;
    }

    push(frame: Frame): void {
        const taker = this.#waiting.shift();
        if (taker) taker({ value: frame, done: false });
        else this.#frames.push(frame);
    }

    /** No more come; those that wait are still given out. */
    end(): void {
        this.#ended = true;
        for (const taker of this.#waiting.splice(0)) taker({ value: undefined, done: true });
        this.#gone(this);
    }

    next(): Promise<IteratorResult<Frame, undefined>> {
        const value = this.#frames.shift();
        if (value !== undefined) return Promise.resolve({ value, done: false });
        if (this.#ended) return Promise.resolve({ value, done: true });
        return new Promise((resolve) => this.#waiting.push(resolve));
    }

    return(): Promise<IteratorResult<Frame, undefined>> {
        this.#frames = [];
        this.end();
        return this.next();
    }

    [Symbol.asyncIterator](): this {
        return this;
    }
}
