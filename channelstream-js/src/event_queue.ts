// The queue behind `for await`.

export class EventQueue<Item> implements AsyncIterableIterator<Item> {
    #items: Item[] = [];
    #takers: ((result: IteratorResult<Item, undefined>) => void)[] = [];
    #ended = false;
    #left: () => void;

    /** Calls `left` when nobody takes items any more. */
    constructor(left: () => void) {
        this.#left = left;
    }

    push(item: Item): void {
        const taker = this.#takers.shift();
        if (taker) taker({ value: item, done: false });
        else this.#items.push(item);
    }

    /** Accepts no more items; those in the queue can still be taken. */
    end(): void {
        this.#ended = true;
        for (const taker of this.#takers.splice(0)) taker({ value: undefined, done: true });
        this.#left();
    }

    next(): Promise<IteratorResult<Item, undefined>> {
        const value = this.#items.shift();
        if (value !== undefined) return Promise.resolve({ value, done: false });
        if (this.#ended) return Promise.resolve({ value: undefined, done: true });
        return new Promise((resolve) => this.#takers.push(resolve));
    }

    return(): Promise<IteratorResult<Item, undefined>> {
        this.#items = [];
        this.end();
        return this.next();
    }

    [Symbol.asyncIterator](): this {
        return this;
    }
}
