// Following one growing message to its end, whatever happens to the connection, as a stream of chunks.
import type { UIMessageChunk } from 'ai';
import { jittered, longer } from './backoff.js';
import { Chunks, Rewritten, type Version } from './chunks.js';
import type { ChannelStreamConnection } from './compat.js';
import { appended } from './growing.js';
import { isRefusal } from './request.js';
import type { ConnectAnswer, MessageAppended, MessageEdited, MessagePosted, ServerEvent } from './protocol.js';

/** The most events that are kept while it is not known what they belong to. */
const MOST_WAITING = 5000;

/** How often the application is asked in a row if it fails, and how many appends in a row may not fit. */
const MOST_TRIES = 6;

/** The first delay before the application is asked again, in ms, and by how much each further delay is longer. */
const DELAY = 1000;

const STATUSES: readonly Version['status'][] = ['open', 'done', 'cancelled', 'failed', 'stalled'];

export interface FollowingOptions {
    /** Where the text of the payload is. */
    key: string;
    /** Asks the application for the message as it stands; `null` if it knows none. The error may have a `status`. */
    ask(signal: AbortSignal): Promise<Version | null>;
    /** Called with each status that is new. */
    onStatus(version: Version): void;
    /** Called once, when nothing follows any more. */
    onEnd(): void;
}

/** Returns a message as a version, if it is one that grows. */
export function versionOf(message: any): Version | undefined {
    const { uuid, channel = null, rev, status, message: payload } = message ?? {};
    const isOne = typeof uuid === 'string' && Number.isInteger(rev) && STATUSES.includes(status);
    return isOne ? { uuid, channel, rev, status, message: payload } : undefined;
}

export class Following {
    readonly stream: ReadableStream<UIMessageChunk>;
    readonly #connection: ChannelStreamConnection<any>;
    readonly #options: FollowingOptions;
    readonly #chunks: Chunks;
    readonly #leave: (() => void)[];
    readonly #end = new AbortController();
    #controller!: ReadableStreamDefaultController<UIMessageChunk>;
    /** What happened while it is not known what to make of it: in the beginning, and while the application is asked. */
    #waiting: (() => void)[] | null = [];
    /** The version from which the server's events go on. */
    #line: Version | undefined;
    /** The newest version; out of a history it may be ahead of the events. */
    #newest: Version | undefined;
    /** How many appends did not fit since one did. */
    #misfits = 0;

    /** Hears the events of a connection from now on, and waits for `begin`. */
    constructor(connection: ChannelStreamConnection<any>, options: FollowingOptions) {
        this.#connection = connection;
        this.#options = options;
        this.#chunks = new Chunks(options.key);
        this.stream = new ReadableStream({
            start: (controller) => void (this.#controller = controller),
            cancel: () => this.#close(),
        });
        this.#leave = [
            connection.on('event', (event) => this.#inTurn(() => this.#take(event))),
            connection.on('connect', (answer) => this.#inTurn(() => this.#joined(answer))),
            connection.on('state', () => this.#inTurn(() => this.#look())),
        ];
    }

    /** Follows this message, from the version that the application answered. Calls `left` when nothing follows any more. */
    begin(version: Version, left: () => void): void {
        this.#leave.push(left);
        this.#line = version;
        this.#show(version);
        if (this.#isOver) return;
        void this.#listen();
        this.#replay();
    }

    /** Ends the stream as stopped by the user. */
    abort(): void {
        this.#finish(...this.#chunks.close(), { type: 'abort' });
    }

    /** Follows no more. */
    close(): void {
        this.#finish();
    }

    get #isOver(): boolean {
        return this.#end.signal.aborted;
    }

    /** Sees to it that the connection receives what happens in the channel. */
    async #listen(): Promise<void> {
        const connection = this.#connection;
        const { channel } = this.#line!;
        this.#look();
        if (this.#isOver) return;
        if (connection.state === 'idle') {
            // What it is answered is reported as an event; so is what fails.
            connection.connect().catch((error) => this.#fail(error));
            return;
        }
        if (channel === null || connection.connectionId === null || connection.channels.includes(channel)) return;
        await this.#subscribe(channel);
    }

    async #subscribe(channel: string): Promise<void> {
        try {
            const answer = await this.#connection.subscribe([channel]);
            this.#inTurn(() => this.#joined(answer ?? {}));
        } catch (error) {
            this.#fail(error);
        }
    }

    /** Does it now, or as soon as the application has answered. */
    #inTurn(action: () => void): void {
        if (this.#isOver) return;
        if (!this.#waiting) return action();
        this.#waiting.push(action);
        // Too much to keep: what is asked for later has all of it.
        if (this.#waiting.length > MOST_WAITING) this.#waiting = [() => void this.#ask()];
    }

    #replay(): void {
        const waiting = this.#waiting ?? [];
        this.#waiting = null;
        for (const action of waiting) this.#inTurn(action);
    }

    /** The connection is new, or has a new channel: it may have missed something. */
    #joined({ channels, channels_info }: Partial<ConnectAnswer>): void {
        const { channel, uuid } = this.#line!;
        const isMissing = channel !== null && channels && !channels.includes(channel);
        if (isMissing && this.#connection.subscribeUrl) return void this.#subscribe(channel);
        if (isMissing) return this.#fail(new Error(`the connection does not listen to the channel ${channel}`));
        const history = channel === null ? undefined : channels_info?.channels?.[channel]?.history;
        const version = versionOf(history?.find((message) => message.uuid === uuid));
        if (version) this.#show(version);
        else void this.#ask();
    }

    #take(event: ServerEvent): void {
        const { uuid, channel } = this.#line!;
        if (event.type === 'gap') {
            const isOurs = event.reason === 'epoch' || event.channel === null || (event.channel ?? null) === channel;
            if (isOurs) void this.#ask();
        } else if (event.uuid !== uuid) return;
        else if (event.type === 'message') this.#replace(event);
        else if (event.type === 'message:append') this.#append(event);
        else if (event.type === 'message:edit') this.#edit(event);
        else if (event.type === 'message:delete') this.#fail(new Error('the answer was deleted'));
    }

    #replace(message: MessagePosted): void {
        const version = versionOf(message);
        if (!version) return this.#fail(new Error('the answer does not grow any more'));
        this.#line = version;
        this.#show(version);
    }

    #edit({ rev, status, message }: MessageEdited): void {
        const line = this.#line!;
        if (rev === undefined || rev <= line.rev) return;
        // Without a payload it changes that of the version before.
        if (message === undefined && rev !== line.rev + 1) return void this.#ask();
        this.#line = { ...line, rev, status: status ?? line.status, message: message ?? line.message };
        this.#show(this.#line);
    }

    #append({ append, from, rev, status }: MessageAppended): void {
        const base = [this.#line!, this.#newest!].find((version) => version.rev === from);
        const isKnown = rev <= this.#newest!.rev;
        if (!base && isKnown) return;
        const message = base && appended(base.message, append);
        // Nothing is put where it does not belong.
        if (!base || !message) {
            this.#misfits += 1;
            if (this.#misfits > MOST_TRIES) return this.#fail(new Error('the answer cannot be followed'));
            return void this.#ask();
        }
        this.#misfits = 0;
        this.#line = { ...base, message, rev, status: status ?? base.status };
        this.#show(this.#line, base === this.#newest ? append : undefined);
    }

    /** Tells what is new in a version. */
    #show(version: Version, append?: MessageAppended['append']): void {
        const previous = this.#newest;
        if (this.#isOver || (previous && version.rev <= previous.rev)) return;
        this.#newest = version;
        try {
            const chunks = this.#chunks.next(version, append);
            if (version.status !== previous?.status) this.#options.onStatus(version);
            if (version.status === 'open' || version.status === 'stalled') this.#tell(chunks);
            else this.#finish(...chunks);
        } catch (error) {
            const isRewritten = error instanceof Rewritten;
            this.#fail(isRewritten ? new Error('the answer was rewritten: load the chat again') : error);
        }
    }

    /** Asks the application for the message as it stands: something is missing. */
    async #ask(): Promise<void> {
        if (this.#waiting || this.#isOver) return;
        this.#waiting = [];
        for (let delay = 0, tries = 1; ; tries += 1) {
            try {
                const version = await this.#options.ask(this.#end.signal);
                if (this.#isOver) return;
                if (version?.uuid !== this.#line!.uuid) {
                    return this.#fail(new Error('the answer is not stored any more'));
                }
                if (version.rev > this.#line!.rev) this.#line = version;
                this.#show(version);
                return this.#replay();
            } catch (error) {
                const { status } = error as { status?: number };
                const isLast = tries === MOST_TRIES || (status !== undefined && isRefusal(status));
                if (isLast) return this.#fail(error);
                delay = longer(delay, DELAY);
                await this.#pause(jittered(delay));
                if (this.#isOver) return;
            }
        }
    }

    #pause(ms: number): Promise<void> {
        return new Promise((resolve) => {
            const timer = setTimeout(resolve, ms);
            this.#end.signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
        });
    }

    /** Nothing comes by a connection that is closed; meanwhile the page may have connected it again. */
    #look(): void {
        if (this.#connection.state === 'closed') this.#fail(new Error('the connection to the push server is closed'));
    }

    #fail(error: unknown): void {
        const errorText = error instanceof Error ? error.message : String(error);
        this.#finish(...this.#chunks.close(), { type: 'error', errorText });
    }

    #tell(chunks: UIMessageChunk[]): void {
        for (const chunk of chunks) this.#controller.enqueue(chunk);
    }

    #finish(...chunks: UIMessageChunk[]): void {
        if (this.#isOver) return;
        this.#tell(chunks);
        this.#controller.close();
        this.#close();
    }

    #close(): void {
        if (this.#isOver) return;
        this.#end.abort();
        for (const leave of this.#leave) leave();
        this.#waiting = null;
        this.#options.onEnd();
    }
}
