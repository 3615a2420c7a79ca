// Functions of the page that change requests before they are sent.
import type { OutgoingRequest } from './request.js';

const TYPES = [
    'connect',
    'message',
    'messageEdit',
    'messageDelete',
    'subscribe',
    'unsubscribe',
    'disconnect',
    'cancel',
    'userState',
] as const;

/** The kinds of requests that mutators can change. */
export type MutatorType = (typeof TYPES)[number];

/** Changes the `url`, `body`, `headers` or `credentials` of a request before it is sent. */
export type Mutator = (request: OutgoingRequest) => void;

/** Mutators by type, in the order in which they run. */
export type Mutators = Record<MutatorType, Mutator[]>;

export function noMutators(): Mutators {
    return Object.fromEntries(TYPES.map((type) => [type, []])) as unknown as Mutators;
}
