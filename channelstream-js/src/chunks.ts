// A growing message as chunks of the AI SDK: each version of it gives those that are new.
import type { UIMessageChunk } from 'ai';
import type { MessagePosted } from './protocol.js';

/** A message as it stands. */
export type Version = Pick<MessagePosted, 'uuid' | 'channel' | 'message'> &
    Required<Pick<MessagePosted, 'rev' | 'status'>>;

/** The most characters of a text for people that come from elsewhere. */
export const LONGEST_TEXT = 300;

/** A version takes back what was told; the SDK has no chunk for that. */
export class Rewritten extends Error {}

export class Chunks {
    readonly #key: string;
    #id = '';
    #hasBegun = false;
    #hasFinished = false;
    /** The text that was told. */
    #text = '';
    /** How many items of the list `chunks` were told. */
    #told = 0;

    /** `key` is where the text of the payload is. */
    constructor(key: string) {
        this.#key = key;
    }

    /**
     * Returns the chunks that are new in a version. `append` is what makes it of the version before, if that is
     * known: a long text is then not compared. Throws `Rewritten` if the version does not begin with what was told.
     */
    next({ uuid, message, status }: Version, append?: Record<string, unknown>): UIMessageChunk[] {
        const payload = (typeof message === 'object' && message ? message : {}) as Record<string, unknown>;
        const isFinal = status !== 'open' && status !== 'stalled';
        const chunks: UIMessageChunk[] = [];
        this.#id = uuid;
        const list = Array.isArray(payload['chunks']) ? payload['chunks'] : undefined;
        if (!this.#hasBegun && (!list || list.length || isFinal)) {
            this.#hasBegun = true;
            if (list?.[0]?.type !== 'start') chunks.push({ type: 'start', messageId: uuid });
        }
        if (list) chunks.push(...this.#newOf(list));
        else if (this.#told) throw new Rewritten();
        const text = payload[this.#key];
        chunks.push(...this.#grown(typeof text === 'string' ? text : '', append));
        if (isFinal) chunks.push(...this.#ending(payload, status));
        return chunks;
    }

    /** Returns the chunk that ends the text, if it has begun. */
    close(): UIMessageChunk[] {
        return this.#text ? [{ type: 'text-end', id: this.#id }] : [];
    }

    #newOf(list: any[]): UIMessageChunk[] {
        if (list.length < this.#told) throw new Rewritten();
        const items = list.slice(this.#told);
        const strange = items.findIndex((item) => typeof item?.type !== 'string');
        if (strange >= 0) throw new TypeError(`item ${this.#told + strange} of chunks has no type`);
        this.#told = list.length;
        this.#hasFinished ||= items.some(({ type }) => /^(finish|abort|error)$/.test(type));
        return items;
    }

    #grown(text: string, append?: Record<string, unknown>): UIMessageChunk[] {
        const before = this.#text;
        const id = this.#id;
        let delta = append?.[this.#key];
        // An append by JSON Pointer may mean the text as well.
        if (!append || Object.keys(append).some((key) => key.startsWith('/'))) {
            if (!text.startsWith(before)) throw new Rewritten();
            delta = text.slice(before.length);
        }
        if (typeof delta !== 'string' || !delta) return [];
        this.#text = text;
        const start: UIMessageChunk[] = before ? [] : [{ type: 'text-start', id }];
        return [...start, { type: 'text-delta', id, delta }];
    }

    #ending(payload: Record<string, unknown>, status: Version['status']): UIMessageChunk[] {
        const chunks = this.close();
        if (status === 'failed') {
            const told = payload['error'];
            const errorText = typeof told === 'string' && told ? told.slice(0, LONGEST_TEXT) : 'the answer failed';
            chunks.push({ type: 'error', errorText });
        } else if (status === 'cancelled') {
            // The reason keeps the SDK from going on by itself.
            chunks.push({ type: 'abort', reason: 'cancelled' }, { type: 'finish', finishReason: 'interrupted' });
        } else if (!this.#hasFinished) chunks.push({ type: 'finish' });
        return chunks;
    }
}
