// Functions of the page that change requests before they are sent.
import type { AjaxRequest } from './request.js';

const TYPES = [
    'connect',
    'message',
    'messageEdit',
    'messageDelete',
    'subscribe',
    'unsubscribe',
    'disconnect',
    'userState',
] as const;

/** Which requests a mutator sees. */
export type MutatorType = (typeof TYPES)[number];

/** Changes a request, its `url`, `body` or `headers`, before it is sent. */
export type Mutator = (request: AjaxRequest) => void;

/** Mutators by type, in the order in which they run. */
export type Mutators = Record<MutatorType, Mutator[]>;

export function noMutators(): Mutators {
    return Object.fromEntries(TYPES.map((type) => [type, []])) as unknown as Mutators;
}
