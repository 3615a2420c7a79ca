// Whether a silent transport is still alive, learned from how often the server sends heartbeats.

/** The limit as long as the server's interval is unknown. */
const UNKNOWN = 60_000;

/** The longest time between two heartbeats of a server, learned over all transports of one kind. */
export class Rhythm {
    #interval = 0;

    /** Records the time between two heartbeats. */
    record(interval: number): void {
        // Delayed heartbeats arrive all at once: they must not shorten the limit suddenly.
        this.#interval = Math.max(interval, this.#interval * 0.9);
    }

    /** The ms of silence after which a transport is dead. */
    get limit(): number {
        return this.#interval ? this.#interval * 2.5 + 2000 : UNKNOWN;
    }

    /** The ms within which a transport that is alive shows a sign of life. */
    get grace(): number {
        return this.#interval ? this.#interval * 1.5 + 1000 : UNKNOWN;
    }
}

/** Watches one transport, and calls `silent` when it has been silent for too long. */
export class Watchdog {
    #rhythm: Rhythm;
    #silent: () => void;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #lastHeartbeat = performance.now();
    #deadline = 0;
    /** When the timer checks the deadline, which may have moved on by then. */
    #due = Infinity;
    /** Whether nothing has arrived since the page woke up. */
    #suspect = false;

    constructor(rhythm: Rhythm, silent: () => void) {
        this.#rhythm = rhythm;
        this.#silent = silent;
        this.received(false);
    }

    /** Something arrived; `heartbeat` says whether it was only a heartbeat. */
    received(heartbeat: boolean): void {
        const now = performance.now();
        if (heartbeat) {
            this.#rhythm.record(now - this.#lastHeartbeat);
            this.#lastHeartbeat = now;
        }
        this.#suspect = false;
        this.#deadline = now + this.#rhythm.limit;
        if (this.#deadline < this.#due) this.#arm();
    }

    /** Something happened to the machine: the transport has to show a sign of life soon. */
    check(): void {
        const soon = performance.now() + this.#rhythm.grace;
        // A deadline in the past was slept through.
        if (this.#deadline > soon || this.#deadline < performance.now()) this.#deadline = soon;
        this.#arm();
    }

    stop(): void {
        clearTimeout(this.#timer);
    }

    #arm(): void {
        clearTimeout(this.#timer);
        this.#due = this.#deadline;
        this.#timer = setTimeout(() => {
            const now = performance.now();
            if (now < this.#deadline) return this.#arm();
            // The timer is late: the page slept, and what arrived meanwhile has not been read yet.
            if (this.#suspect || now < this.#due + 2000) return this.#silent();
            this.#suspect = true;
            this.check();
        }, this.#due - performance.now());
    }
}
