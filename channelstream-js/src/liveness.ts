// Whether a line that says nothing is still alive: learned from how often it speaks.

/** Until anything is known of a server's heartbeats. */
const UNKNOWN = 60_000;

/** How often a server speaks at least, learned over all lines of one kind. */
export class Rhythm {
    #interval = 0;

    /** Notes the time between two signs of life that came for no other reason. */
    beat(interval: number): void {
        // Beats that were held up come at once: they must not make it impatient.
        this.#interval = Math.max(interval, this.#interval * 0.9);
    }

    /** After so many ms of silence a line is dead. */
    get limit(): number {
        return this.#interval ? this.#interval * 2.5 + 2000 : UNKNOWN;
    }

    /** Within so many ms a line that lives speaks. */
    get grace(): number {
        return this.#interval ? this.#interval * 1.5 + 1000 : UNKNOWN;
    }
}

/** Watches one line, and calls `silent` when it has been silent for too long. */
export class Watchdog {
    #rhythm: Rhythm;
    #silent: () => void;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #lastBeat = performance.now();
    #deadline = 0;
    /** When the timer looks at the deadline, which may have moved on by then. */
    #due = Infinity;
    /** Whether nothing was heard since the page woke. */
    #suspect = false;

    constructor(rhythm: Rhythm, silent: () => void) {
        this.#rhythm = rhythm;
        this.#silent = silent;
        this.heard(false);
    }

    /** The line spoke; `beat` if only to show that it is alive. */
    heard(beat: boolean): void {
        const now = performance.now();
        if (beat) {
            this.#rhythm.beat(now - this.#lastBeat);
            this.#lastBeat = now;
        }
        this.#suspect = false;
        this.#deadline = now + this.#rhythm.limit;
        if (this.#deadline < this.#due) this.#arm();
    }

    /** Something happened to the machine: the line has to show soon that it is alive. */
    doubt(): void {
        const soon = performance.now() + this.#rhythm.grace;
        // A deadline that has passed was slept through.
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
            // Late: the page slept, and what came meanwhile is still to be read.
            if (this.#suspect || now < this.#due + 2000) return this.#silent();
            this.#suspect = true;
            this.doubt();
        }, this.#due - performance.now());
    }
}
