// When and how a connection returns after it was lost.
import { jittered, longer } from './backoff.js';
import type { Connection } from './connection.js';
import { report } from './error.js';
import type { Listening } from './listening.js';
import { watchPage } from './page_lifecycle.js';
import type { End } from './transport.js';

/** The ms for which the same connection is tried: the server reaps it after that time. */
const RESUMING = 15_000;

/** What recovery does with the connection. */
interface Actions {
    /** Asks the application for a new connection. Throws if a mutator of the page does. */
    connect(): void;
    /** A return is scheduled, or the page was left. */
    reconnecting(): void;
    /** Whether the application is being asked at the moment. */
    isConnecting(): boolean;
    isAborted(): boolean;
    /** Ends the transport, the pending connect and the pending return. */
    drop(): void;
}

export class Recovery {
    /** The current delay in ms. */
    delay = 0;
    /** Whether the server may have dropped the connection, so that only a new one helps. */
    stale = false;
    #connection: Connection<any>;
    #listening: Listening;
    #actions: Actions;
    #timer: ReturnType<typeof setTimeout> | undefined;
    /** When the connection was lost that is to be resumed; 0 if none was. */
    #lostAt = 0;
    #asleep = false;
    #unwatch: (() => void) | undefined;

    constructor(connection: Connection<any>, listening: Listening, actions: Actions) {
        this.#connection = connection;
        this.#listening = listening;
        this.#actions = actions;
    }

    /** Whether a return is scheduled, or follows when the page returns. */
    get pending(): boolean {
        return this.#asleep || this.#timer !== undefined;
    }

    /** A connect begins. */
    begin(): void {
        this.stale = true;
        this.#asleep = false;
        this.#unwatch ??= watchPage(
            () => this.#wake(),
            () => this.#sleep(),
        );
    }

    /** A connect succeeded. */
    renewed(): void {
        this.stale = false;
        this.#lostAt = 0;
    }

    /** Something was received. */
    received(): void {
        this.delay = 0;
        this.#lostAt = 0;
    }

    /** Cancels the scheduled return. */
    cancel(): void {
        clearTimeout(this.#timer);
        this.#timer = undefined;
    }

    /** The connection is closed: the page is no longer watched. */
    end(): void {
        this.#unwatch?.();
        this.#unwatch = undefined;
    }

    /** Schedules a return after a transport ended; returns `false` if there is none. */
    recover(end: End): boolean {
        const resumed = this.#lostAt !== 0;
        this.#lostAt ||= performance.now();
        // The server takes what it sent to a silent transport for delivered and does not send it
        // again: only the history in a new answer has it. Besides, polls on that connection stay empty
        // as long as the server believes that a websocket is open.
        const offline = globalThis.navigator?.onLine === false;
        if (/unknown|hung|silent/.test(end) || offline) this.stale = true;
        // At once where that helps: the server was there, or soon reaps the connection.
        const { resume } = this.#connection;
        return this.retry(resume && (end === 'unknown' ? resumed : !resumed && end === 'lost'));
    }

    /** Schedules a return; returns `false` if there is none. */
    retry(soon = false): boolean {
        const { shouldReconnect, increaseBounceIv } = this.#connection;
        if (!shouldReconnect || this.#actions.isAborted()) return false;
        if (this.#timer !== undefined) return true;
        if (!soon) this.delay = longer(this.delay, increaseBounceIv);
        this.#timer = setTimeout(() => this.#return(), jittered(soon ? 100 : this.delay));
        this.#actions.reconnecting();
        return true;
    }

    #return(): void {
        this.cancel();
        const away = this.#lostAt && performance.now() - this.#lostAt;
        const { resume, connectionId } = this.#connection;
        if (resume && connectionId && !this.stale && away < RESUMING) return this.#listening.start(false);
        try {
            this.#actions.connect();
        } catch (error) {
            report(error);
            this.retry();
        }
    }

    #wake(): void {
        if (!this.pending) return this.#listening.check();
        this.#asleep = false;
        this.#return();
    }

    /** Releases everything: browsers do not cache a page that has open TCP connections. */
    #sleep(): void {
        const { active, onWebsocket } = this.#listening;
        if (!active && !this.#actions.isConnecting() && this.#timer === undefined) return;
        // The server drops a connection whose websocket is closed.
        this.stale ||= onWebsocket;
        this.#actions.drop();
        this.#asleep = true;
        this.#actions.reconnecting();
    }
}
