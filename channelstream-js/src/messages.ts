// The messages of channels as they stand: posted, edited, grown, deleted.
import type { ChannelStreamConnection } from './compat.js';
import { report } from './error.js';
import { EventQueue } from './event_queue.js';
import { appended } from './growing.js';
import type { ConnectAnswer, Gap, MessageAppended, MessagePosted, ServerEvent } from './protocol.js';
import { addDates } from './timestamps.js';

/** A message as it stands. Each change makes a new object. */
export interface ViewedMessage<Payload = unknown> extends MessagePosted<Payload> {
    /** Some of what was appended is missing. The next whole version of the message repairs it. */
    incomplete?: true;
}

/** One change of the view. */
export interface MessageChange<Payload = unknown> {
    /** The message now; absent if it was deleted or dropped. */
    message?: ViewedMessage<Payload>;
    /** The message before; absent if it is new. */
    previous?: ViewedMessage<Payload>;
    /** What was appended, if that is all that changed. */
    append?: MessageAppended['append'];
    /** Events of this channel were lost: the application may `load` its history. No message changed. */
    gap?: Gap['channel'];
}

export interface MessagesOptions {
    /** Only the messages of this channel; `null` means private ones. Otherwise those of all. */
    channel?: string | null;
    /** The most messages that are kept, 1000 by default: older ones are dropped. */
    limit?: number;
}

/** What has a history of messages: a list, or an answer of the server to connect and subscribe. */
export type History<Payload = unknown> =
    | readonly MessagePosted<Payload>[]
    | Pick<Partial<ConnectAnswer<Payload>>, 'channels_info'>;

/** Views the messages of a connection, from now on and from the histories in its answers to connect. */
export function messages<Payload = unknown>(
    connection: ChannelStreamConnection<Payload>,
    options: MessagesOptions = {},
): Messages<Payload> {
    return new Messages(connection, options);
}

export class Messages<Payload = unknown> {
    /** The channels whose events were lost since their history was loaded; `null` stands for private messages. */
    readonly gaps = new Set<string | null>();
    #all = new Map<string, ViewedMessage<Payload>>();
    /**
     * Versions out of histories that are ahead of what the view has of a growing message. The server goes on
     * from the connection's cursor, and so from the view's version, unless it has lost that.
     */
    #ahead = new Map<string, MessagePosted<Payload>>();
    #options: MessagesOptions;
    #handlers = new Set<(change: MessageChange<Payload>) => void>();
    #queues = new Set<EventQueue<MessageChange<Payload>>>();
    #leave: (() => void)[];

    constructor(connection: ChannelStreamConnection<Payload>, options: MessagesOptions) {
        this.#options = options;
        this.#leave = [
            connection.on('event', (event) => this.#take(event)),
            connection.on('connect', (answer) => {
                // Without cursors nobody tells what was deleted meanwhile.
                if (!connection.cursor) this.#forget(answer);
                this.load(answer);
            }),
        ];
    }

    /** The messages, oldest first. */
    get list(): ViewedMessage<Payload>[] {
        return [...this.#all.values()];
    }

    get(uuid: string): ViewedMessage<Payload> | undefined {
        return this.#all.get(uuid);
    }

    /** Calls `handler` after each change. Returns a function that removes it. */
    onChange(handler: (change: MessageChange<Payload>) => void): () => void {
        this.#handlers.add(handler);
        return () => void this.#handlers.delete(handler);
    }

    /** Iterates over the changes from now on, until the view is closed. */
    [Symbol.asyncIterator](): AsyncIterableIterator<MessageChange<Payload>> {
        const queue: EventQueue<MessageChange<Payload>> = new EventQueue(() => this.#queues.delete(queue));
        this.#queues.add(queue);
        return queue;
    }

    /** Takes messages out of a history; those that the view knows are replaced. */
    load(history: History<Payload>): void {
        let isOld = false;
        for (const message of this.#messagesOf(history)) {
            if (!this.#isViewed(message)) continue;
            const previous = this.#all.get(message.uuid);
            if (previous && !previous.incomplete) {
                if (previous.rev !== undefined) {
                    if (message.rev! > previous.rev) this.#ahead.set(message.uuid, message);
                    continue;
                }
                if ((message.edited ?? '') <= (previous.edited ?? '')) continue;
            }
            isOld ||= !previous;
            this.#set(message);
        }
        // Timestamps are texts of one form.
        if (isOld) {
            const sorted = this.list.sort(({ timestamp: one }, { timestamp: other }) =>
                one < other ? -1 : +(one > other),
            );
            this.#all = new Map(sorted.map((message) => [message.uuid, message]));
        }
        this.#trim();
    }

    /** Ends the view: it changes no more. */
    close(): void {
        for (const leave of this.#leave) leave();
        for (const queue of this.#queues) queue.end();
        this.#handlers.clear();
    }

    #take(event: ServerEvent<Payload>): void {
        if (event.type === 'gap') return this.#miss(event);
        if (!('uuid' in event) || !this.#isViewed(event)) return;
        const previous = this.#all.get(event.uuid);
        if (event.type === 'message') {
            this.#ahead.delete(event.uuid);
            this.#set(event);
            this.#trim();
        } else if (!previous) return;
        else if (event.type === 'message:delete') this.#drop(previous);
        else if (event.type === 'message:append') this.#append(previous, event);
        else if (event.type === 'message:edit') {
            const { type: _type, catchup: _catchup, ...changed } = event;
            const { incomplete: _incomplete, ...rest } = previous;
            this.#set({ ...(event.message ? rest : previous), ...changed } as MessagePosted<Payload>);
        }
    }

    #append(previous: ViewedMessage<Payload>, event: MessageAppended): void {
        const { append, from, rev, status } = event;
        const base = [previous, this.#ahead.get(event.uuid)].find((message) => message?.rev === from);
        const isKnown = rev <= (previous.rev ?? -1);
        if (!base && isKnown) return;
        const message = base && !(base as ViewedMessage).incomplete && appended(base.message, append);
        if (!message) {
            // Nothing is put where it does not belong.
            if (!previous.incomplete) {
                this.#set({ ...previous, incomplete: true });
                this.#lost(event.channel);
            }
            return;
        }
        const grown = { ...base, message, rev, ...(status && { status }) };
        if (rev >= (this.#ahead.get(event.uuid)?.rev ?? 0)) this.#ahead.delete(event.uuid);
        this.#set(grown as MessagePosted<Payload>, base === previous ? append : undefined);
    }

    #miss({ channel, reason }: Gap): void {
        const { channel: viewed } = this.#options;
        const any = channel === null || reason === 'epoch';
        // What the view has is not what the server goes on from.
        for (const [uuid, message] of this.#ahead) {
            if (!any && message.channel !== (channel ?? null)) continue;
            this.#ahead.delete(uuid);
            this.#set(message);
        }
        if (any || viewed === undefined || viewed === (channel ?? null)) this.#lost(channel ?? null);
    }

    #lost(channel: string | null): void {
        this.gaps.add(channel);
        this.#tell({ gap: channel });
    }

    #messagesOf(history: History<Payload>): readonly MessagePosted<Payload>[] {
        if (!Array.isArray(history)) {
            const { channels_info } = history as Partial<ConnectAnswer<Payload>>;
            const channels = Object.entries(channels_info?.channels ?? {});
            return channels.flatMap(([name, { history }]) => {
                this.gaps.delete(name);
                return history ?? [];
            });
        }
        for (const { channel } of history) this.gaps.delete(channel);
        return history;
    }

    /** Drops the messages of an answer's channels that are not in their histories any more. */
    #forget({ channels_info }: Partial<ConnectAnswer<Payload>>): void {
        for (const message of this.list) {
            const info = message.channel !== null && channels_info?.channels?.[message.channel];
            if (info && !info.history?.some(({ uuid }) => uuid === message.uuid)) this.#drop(message);
        }
    }

    #isViewed({ channel }: { channel: string | null }): boolean {
        return this.#options.channel === undefined || this.#options.channel === channel;
    }

    #set(message: ViewedMessage<Payload>, append?: MessageAppended['append']): void {
        const previous = this.#all.get(message.uuid);
        // A copy does not have what is not enumerable.
        const copy = { ...message };
        addDates([copy]);
        this.#all.set(message.uuid, copy);
        this.#tell({ message: copy, ...(previous && { previous }), ...(append && { append }) });
    }

    #drop(previous: ViewedMessage<Payload>): void {
        this.#all.delete(previous.uuid);
        this.#ahead.delete(previous.uuid);
        this.#tell({ previous });
    }

    /** Drops the oldest messages beyond the limit; open ones stay as long as there are others. */
    #trim(): void {
        const { limit = 1000 } = this.#options;
        let excess = this.#all.size - limit;
        if (excess <= 0) return;
        const isOpen = ({ status }: MessagePosted) => status === 'open' || status === 'stalled';
        const inTurn = this.list.sort((one, other) => +isOpen(one) - +isOpen(other));
        for (const message of inTurn) {
            if (excess-- <= 0) return;
            this.#drop(message);
        }
    }

    #tell(change: MessageChange<Payload>): void {
        for (const queue of this.#queues) queue.push(change);
        for (const handler of this.#handlers) {
            try {
                handler(change);
            } catch (error) {
                report(error);
            }
        }
    }
}
