// One connection for all tabs of a browser: one of them has it, and tells the others what it hears.
//
// A lock of the browser makes one tab the leader. It numbers what the others have to know, its
// entries: each answer to connect, and each list of events. Every tab keeps the entries since the
// newest answer, so that any of them can lead a tab that is new, or lead all when the leader is gone.
import { ChannelStreamConnection, type Options } from './compat.js';
import { report } from './error.js';
import type { ConnectionState } from './events.js';
import type { ChannelsAnswer } from './protocol.js';
import type { Answer } from './request.js';

/** The most entries that are kept. A tab that is new after more of them makes the leader connect anew. */
const MOST = 500;

/** How long a new leader waits for what others know, in ms: they may have heard the last leader's last words. */
const SETTLING = 200;

/** How often a tab looks whether the leader says anything, in ms; the third time in silence is too much. */
const LOOKING = 2500;

/** What a leader heard, under its name and numbered from 0. */
interface Entry {
    term: string;
    n: number;
    /** An answer to connect, and the cursor at that moment. It makes all before it unnecessary. */
    answer?: any;
    cursor?: string | null | false;
    /** Events. */
    list?: unknown[];
}

/** How far a tab is; a new one has no term. */
interface Position {
    term: string | undefined;
    n: number;
}

/** What tabs tell each other. */
interface Word {
    /** The name of the only tab that is meant. */
    to?: string;
    /** A tab asks for what it does not have; `channels` are those that it wants. */
    join?: { from: string; at: Position; channels: string[] };
    /** A tab is about to lead, under this name. */
    lead?: { from: string; at: Position; term: string };
    entries?: Entry[];
    /** The state of the leader's connection. */
    state?: ConnectionState;
    /** The connection's channels after a subscribe or unsubscribe of any tab. */
    channels?: string[];
}

/**
 * A connection that all tabs of the browser share if they have the same `connectUrl` and `username`: the server sees one.
 * Where the browser has no locks or no broadcast channels, each tab has its own.
 */
export class SharedConnection<Payload = unknown> extends ChannelStreamConnection<Payload> {
    readonly #id = crypto.randomUUID();
    #bus: BroadcastChannel | undefined;
    /** Gives the lock back, or ends waiting for it. */
    #release = () => {};
    #leads = false;
    /** Whether this tab has the lock, and is about to lead. */
    #settles = false;
    #at: Position = { term: undefined, n: -1 };
    /** The entries since the newest answer. */
    #log: Entry[] = [];
    /** Whether the log is too long to be kept. */
    #isCut = false;
    /** The name of the next leader. */
    #next: string | undefined;
    /** The name of the last leader, whose words may be late. */
    #past: string | undefined;
    /** How far the next leader was under the last one. */
    #nextAt = -1;
    /** The cursors of events that this tab has heard and the next leader may hear again. */
    #extra = new Set<string>();
    /** The channels that the application did not give when they were asked for. */
    #refused = new Set<string>();
    /** Whether what happens is somebody else's word. */
    #isTold = false;
    #unwatch = () => {};
    /** Whether the leader said something since the last look. */
    #isHeard = false;
    #timer: ReturnType<typeof setInterval> | undefined;

    constructor(options: Options<Payload>) {
        super(options);
    }

    /** Whether this tab has the connection that all share. */
    get leads(): boolean {
        return this.#leads;
    }

    /**
     * Closes the connection of this tab. The last tab ends it on the server too, if `disconnectUrl` is
     * set.
     */
    override disconnect(): Promise<unknown> {
        const bus = this.#bus;
        if (!bus) return super.disconnect();
        const leaving = navigator.locks.query().then(({ held = [], pending = [] }) => {
            const tabs = [...held, ...pending].filter(({ name }) => name === bus.name);
            if (tabs.length < 2) return super.disconnect();
            if (this.#bus === bus) this.close();
            return;
        });
        // As in the other calls: what fails is reported as an event.
        leaving.catch(() => {});
        return leaving;
    }

    /** @internal */
    protected override _begin(state?: ConnectionState): void {
        const hasAll = globalThis.navigator?.locks && globalThis.BroadcastChannel;
        // Without a URL this throws.
        if (!hasAll || !this.connectUrl || this.#leads) return super._begin(state);
        this.#leave();
        this.#join();
        super._setState('connecting');
    }

    /** @internal */
    protected override _listen(report: () => void): void {
        if (this.#leads || !this.#bus) super._listen(report);
        else report();
    }

    /** @internal */
    protected override _connected(answer: Answer): void {
        if (this.#leads) this.#record({ answer: answer.data, cursor: this.cursor });
        const asked = this.channels;
        this.#told(() => super._connected(answer));
        this.#refused = new Set(asked.filter((channel) => !this.channels.includes(channel)));
    }

    /** @internal */
    protected override _received(data: unknown): void {
        if (this.#leads && Array.isArray(data) && data.length) this.#record({ list: data });
        super._received(data);
    }

    /** @internal */
    protected override _setChannels(data: Partial<ChannelsAnswer> | null): void {
        super._setChannels(data);
        if (!this.#isTold && data?.channels) this.#say({ channels: this.channels });
    }

    /** @internal */
    protected override _setState(state: ConnectionState): void {
        // One that gives up leaves it to the next to try.
        if (this.#leads) this.#say({ state: state === 'closed' ? 'reconnecting' : state });
        if (state === 'closed') this.#leave();
        super._setState(state);
    }

    /** Begins to listen to the other tabs, and waits until it is this one's turn to lead. */
    #join(): void {
        const bus = (this.#bus = new BroadcastChannel(`channelstream 1 ${this.connectUrl} ${this.username}`));
        bus.onmessage = ({ data }) => this.#hear(data);
        const controller = new AbortController();
        this.#release = () => controller.abort();
        this.#request(bus, { signal: controller.signal });
        this.#watchLeader();
        this.#watchPage();
        this.#ask();
    }

    #request(bus: BroadcastChannel, options: LockOptions): void {
        const lead = () => this.#bus === bus && this.#lead();
        navigator.locks.request(bus.name, options, lead).catch((error) => {
            if (this.#bus !== bus || options.signal?.aborted) return;
            if (error.name !== 'AbortError') return report(error);
            // Another tab took the lock from this one, which was suspended.
            this.#rest();
            this.#join();
        });
    }

    /**
     * Takes the lock from a leader that does not answer, if the user looks at this tab: systems suspend tabs
     * at which nobody looks.
     */
    #watchLeader(): void {
        let silence = 0;
        this.#timer = setInterval(() => {
            const isHidden = globalThis.document?.visibilityState === 'hidden';
            if (isHidden || this.#isHeard || this.#leads || this.#settles) silence = 0;
            else if ((silence += 1) < 3) this.#ask();
            else {
                silence = 0;
                this.#release();
                this.#request(this.#bus!, { steal: true });
            }
            this.#isHeard = false;
        }, LOOKING);
    }

    /** Leaves the others: the next one leads, if this one did. */
    #leave(): void {
        this.#unwatch();
        clearInterval(this.#timer);
        this.#release();
        this.#bus?.close();
        this.#bus = undefined;
        this.#leads = this.#settles = this.#isCut = false;
        this.#at = { term: undefined, n: -1 };
        this.#next = this.#past = undefined;
        this.#log = [];
    }

    /** Holds the lock until the promise resolves. */
    async #lead(): Promise<void> {
        const bus = this.#bus;
        const leading = new Promise<void>((resolve) => (this.#release = resolve));
        const term = crypto.randomUUID();
        this.#say({ lead: { from: this.#id, at: this.#at, term }, state: 'reconnecting' });
        this.#settles = true;
        const { pending = [] } = await navigator.locks.query();
        if (pending.some(({ name }) => name === bus!.name)) {
            await new Promise((resolve) => setTimeout(resolve, SETTLING));
        }
        if (this.#bus !== bus) return;
        const isFirst = this.#at.term === undefined;
        this.#settles = false;
        this.#leads = true;
        this.#at = { term, n: -1 };
        this.#log = [];
        try {
            super._begin(isFirst ? 'connecting' : 'reconnecting');
        } catch (error) {
            report(error);
            this.close();
        }
        return leading;
    }

    /** Numbers what the leader heard, keeps it and tells it. */
    #record(heard: Partial<Entry>): void {
        const n = this.#at.n + 1;
        const entry = { ...heard, term: this.#at.term!, n };
        this.#keep(entry);
        this.#say({ entries: [entry] });
    }

    #keep(entry: Entry): void {
        this.#at = { term: entry.term, n: entry.n };
        if (entry.answer) this.#log = [];
        if (entry.answer) this.#isCut = false;
        // The page may change what it is given.
        if (!this.#isCut) this.#log.push(structuredClone(entry));
        if (this.#log.length <= MOST) return;
        this.#log = [];
        this.#isCut = true;
    }

    #say(word: Word): void {
        this.#bus?.postMessage(word);
    }

    #ask(): void {
        this.#say({ join: { from: this.#id, at: this.#at, channels: this.channels } });
    }

    #hear({ to, join, lead, entries, state, channels }: Word): void {
        if (to && to !== this.#id) return;
        if (channels && (this.#leads || this.#at.term !== undefined)) this.#told(() => this._setChannels({ channels }));
        if (join && (this.#leads || this.#settles)) this.#welcome(join);
        if (this.#leads) return;
        if (entries || state) this.#isHeard = true;
        if (lead) this.#follow(lead);
        for (const entry of entries ?? []) this.#apply(entry, to !== undefined);
        if (state && this.#at.term !== undefined) super._setState(state);
    }

    /** Tells a tab what it does not know. */
    #welcome({ from, at, channels }: NonNullable<Word['join']>): void {
        const isKnown = (channel: string) => this.channels.includes(channel) || this.#refused.has(channel);
        const missing = channels.filter((channel) => !isKnown(channel));
        this.channels = [...this.channels, ...new Set(missing)];
        if (this.#leads && (missing.length || this.#isCut)) {
            try {
                super._begin('reconnecting');
            } catch (error) {
                report(error);
            }
        } else this.#tell(from, at);
    }

    #tell(to: string, { term, n }: Position): void {
        const known = term === this.#at.term ? n : -1;
        this.#say({ to, entries: this.#log.filter((entry) => entry.n > known), state: this.state });
    }

    /** Another tab is about to lead: it and this one tell each other what they know. */
    #follow({ from, at, term }: NonNullable<Word['lead']>): void {
        this.#next = term;
        this.#extra.clear();
        const isSame = at.term === this.#at.term;
        this.#nextAt = isSame ? at.n : -1;
        if (this.#at.term === undefined || (isSame && at.n > this.#at.n)) return this.#ask();
        if (isSame && at.n === this.#at.n) return;
        for (const { n, list } of this.#log) {
            if (isSame && n <= at.n) continue;
            for (const { seq } of (list ?? []) as { seq?: string }[]) if (seq) this.#extra.add(seq);
        }
        this.#tell(from, at);
    }

    /** Does what an entry says, if it is the next one. */
    #apply(entry: Entry, isAnswer: boolean): void {
        const { term, n, answer, cursor, list } = entry;
        const { term: mine, n: last } = this.#at;
        if (term === mine ? n <= last : term === this.#past) return;
        const isNext = term === mine && n === last + 1;
        const isBegin = answer && (term === mine || mine === undefined || term === this.#next || isAnswer);
        if (!isNext && !isBegin) return this.#ask();
        const hasMissed = mine !== undefined && (term === mine ? !isNext : last < this.#nextAt);
        if (term !== mine) this.#past = mine;
        this.#keep(entry);
        if (answer) {
            this.cursor = cursor!;
            this.#told(() => super._connected({ ok: true, status: 200, text: '', data: answer }));
            if (hasMissed) super._received([{ type: 'gap', channel: null, reason: 'window' }]);
        } else {
            const isNew = (event: any) => !this.#extra.has(event?.seq);
            super._received(this.#extra.size ? list!.filter(isNew) : list);
        }
    }

    #told(action: () => void): void {
        this.#isTold = true;
        try {
            action();
        } finally {
            this.#isTold = false;
        }
    }

    /** Listens no more, and leaves the others. */
    #rest(): void {
        this._drop();
        this._recovery.end();
        this.#leave();
        super._setState('reconnecting');
    }

    /** A page that is put away must hold no lock, else the browser does not keep it and no other tab leads. */
    #watchPage(): void {
        const scope = globalThis;
        const end = new AbortController();
        const { signal } = end;
        this.#unwatch = () => end.abort();
        const hide = () => {
            this.#rest();
            const isBack = (event: Event) => (event as PageTransitionEvent).persisted && this.#join();
            const away = new AbortController();
            this.#unwatch = () => away.abort();
            scope.addEventListener('pageshow', isBack, { once: true, signal: away.signal });
        };
        scope.addEventListener?.('pagehide', hide, { signal });
    }
}
