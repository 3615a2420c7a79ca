// A connection to the push server through the application: what pages call.
import { ChannelStreamError, report } from './error.js';
import { EventQueue } from './event_queue.js';
import type { ConnectionEvents, ConnectionState } from './events.js';
import { Listening } from './listening.js';
import { noMutators, type Mutator, type Mutators, type MutatorType } from './mutators.js';
import type { ConnectionOptions } from './options.js';
import type {
    AppendAnswer,
    ChannelsAnswer,
    ConnectAnswer,
    MessagePosted,
    ServerEvent,
} from './protocol.js';
import { Recovery } from './recovery.js';
import { type Answer, type Fetch, isRefusal, OutgoingRequest, urlFor } from './request.js';
import { addDates } from './timestamps.js';
import type { TransportName } from './transport.js';
import type { WebSocketConstructor } from './websocket.js';

/** How many ms the application may take to answer connect. */
const CONNECTING = 30_000;

/** Keeps the events of `on` apart from those of older clients, some of which have the same names. */
const PREFIX = 'channelstream:';

/** The requests whose success and failure are reported. */
export type Call =
    | 'cancel'
    | 'connect'
    | 'disconnect'
    | 'message'
    | 'messageDelete'
    | 'messageEdit'
    | 'setUserState'
    | 'subscribe'
    | 'unsubscribe';

/** What is reported to `_notify`. */
export type Notice =
    | Call
    | `${Call}Error`
    | 'beforeListening'
    | 'channelsChanged'
    | 'connectionClosed'
    | 'error'
    | 'listenClose'
    | 'listenError'
    | 'listenMessage'
    | 'listenOpened'
    | 'refused';

/** A promise that waits for the connection. */
interface Waiting {
    resolve(answer: any): void;
    reject(error: unknown): void;
}

/**
 * Returns the promise of a call. A failed request is reported as the event `error` as well, so a page
 * that ignores the promise gets no unhandled rejection. What `call` throws is a mistake in the page's
 * code: that rejection stays unhandled unless the page handles it.
 */
function promised<T>(call: () => Promise<T>): Promise<T> {
    let promise;
    try {
        promise = call();
    } catch (error) {
        return Promise.reject(error);
    }
    promise.catch(() => {});
    return promise;
}

/**
 * Connects a user, listens, and returns after whatever happens to the network. `ChannelStreamConnection`
 * adds the members of older clients; it extends `EventTarget` for their sake.
 */
export class Connection<Payload = unknown> extends EventTarget {
    /** The version of this client. */
    static get version(): string {
        return VERSION;
    }

    /** The channels to connect to; later those that the server named last. */
    channels: string[] = [];
    username: any = 'Anonymous';
    /** The id of the newest connection. */
    connectionId: string | null = null;
    websocketUrl = '';
    eventStreamUrl = '';
    longPollUrl = '';
    connectUrl = '';
    disconnectUrl = '';
    subscribeUrl = '';
    unsubscribeUrl = '';
    userStateUrl = '';
    messageUrl = '';
    messageEditUrl = '';
    messageDeleteUrl = '';
    cancelUrl = '';
    /** Headers of each request to the application. */
    headers: Record<string, string> = {};
    /** Whether requests to the application carry cookies; see `fetch`. */
    credentials: RequestCredentials = 'same-origin';
    /** Whether to return when the connection is lost. */
    shouldReconnect = true;
    /**
     * Whether to return with the same connection if its transport broke a moment ago: the server
     * sends what was missed, and `connect` is not reported again. Otherwise, and always where
     * events may be lost, each return is a new connection. `true` if the constructor was given options:
     * pages that were written for older clients, which give none, draw themselves again in
     * `connectCallback`.
     */
    resume = false;
    /**
     * Where the page stands among the server's events: the server sends all that came later, whatever
     * happened in between. Empty: from now on. `false`: the server is not asked for cursors, as older clients do not.
     * Empty at first if the constructor was given options, else `false`.
     */
    cursor: string | null | false = false;
    /** The transports to use, in the order in which they are tried; those that cannot work here are passed over. */
    transports: TransportName[] = ['websocket', 'eventStream', 'poll'];
    /**
     * Whether to remember in `localStorage` for an hour that the first transports do not work here. `true` if the
     * constructor was given options.
     */
    remember = false;
    /** Whether to send heartbeats. */
    heartbeats = true;
    /** The first delay before a return, in ms, and by how much each further delay is longer. */
    increaseBounceIv = 2000;
    /** Any value but `false` means long polling alone. */
    noWebsocket: boolean = false;
    /** Functions that change requests before they are sent. */
    mutators: Mutators = noMutators();
    /** Replaces the global `fetch`. */
    fetch: Fetch | undefined;
    /** Replaces the global `WebSocket`. Where there is neither, it is long polling. */
    WebSocket: WebSocketConstructor | undefined;

    /** @internal */
    protected readonly _listening = new Listening(this, {
        opened: (detail) => {
            this._setState('open');
            this._notify('listenOpened', detail);
        },
        received: (data) => this._received(data),
        errored: (event) => {
            this.#lost();
            this._notify('listenError', event);
        },
        failed: (source, message) => void this.#error(source, message),
        closed: (event) => {
            this.#lost();
            this._notify('listenClose', event);
        },
        unanswered: (answer) => {
            this.#lost();
            this.#failed('listen', answer);
        },
        strange: () => {
            this.cursor = '';
            this._received([{ type: 'gap', channel: null, reason: 'epoch' }]);
        },
        recover: (end) => {
            if (!this._recovery.recover(end)) this.#giveUp('the connection was lost');
        },
    });
    /** @internal */
    protected readonly _recovery: Recovery = new Recovery(this, this._listening, {
        connect: () => this.#connect('reconnecting'),
        reconnecting: () => this._setState('reconnecting'),
        isConnecting: () => this.#pending !== null,
        isAborted: () => this.#signal?.aborted === true,
        drop: () => this._drop(),
    });
    #state: ConnectionState = 'idle';
    #signal: AbortSignal | undefined;
    /** The request to connect that is being answered, and its answer. */
    #pending: { request: OutgoingRequest; answer: Promise<Answer> } | null = null;
    /** The promises of `connect()`. */
    #connecting: Waiting[] = [];
    /** The calls that wait for the connection. */
    /** The subscribe or unsubscribe that is not answered yet. */
    #turn: Promise<void> | undefined;
    #waiting: (Waiting & { send(): Promise<unknown> })[] = [];
    #queues = new Set<EventQueue<ServerEvent<Payload>>>();
    /** The messages in the newest answer to connect, by their ids: the page draws them from there. */
    #drawn = new Map<string, string>();

    constructor(options?: ConnectionOptions) {
        super();
        if (!options) return;
        const { signal, ...settings } = options;
        this.resume = this.remember = true;
        this.cursor = '';
        Object.assign(this, settings);
        this.#signal = signal;
        signal?.addEventListener('abort', () => void this.disconnect());
    }

    /** What the connection is doing; the event `state` reports each change. */
    get state(): ConnectionState {
        return this.#state;
    }

    /** Calls `handler` on each event of that name. Returns a function that removes it. */
    on<Name extends keyof ConnectionEvents<Payload>>(
        name: Name,
        handler: (detail: ConnectionEvents<Payload>[Name]) => void,
    ): () => void {
        const listener = (event: Event) => handler((event as CustomEvent).detail);
        this.addEventListener(PREFIX + name, listener);
        return () => this.removeEventListener(PREFIX + name, listener);
    }

    /** Adds a function that changes requests of that type before they are sent. */
    addMutator(type: MutatorType, func: Mutator): void {
        this.mutators[type].push(func);
    }

    /**
     * Connects the user to `channels`, and listens. Resolves with the application's answer, and is
     * retried until then. Rejects if the connection is closed first, or is not retried: because
     * `shouldReconnect` is false, or because the application refuses this user by a status from 400 to
     * 499 (408, 425 and 429 are retried). Rejects at once if the signal is aborted or `connectUrl` is not
     * set.
     */
    connect(): Promise<ConnectAnswer<Payload>> {
        return promised(() => {
            this.#signal?.throwIfAborted();
            this._begin();
            return new Promise((resolve, reject) => this.#connecting.push({ resolve, reject }));
        });
    }

    /** Joins more channels, as soon as there is a connection. Asks nothing if there are no channels. */
    subscribe(channels: string[]): Promise<ChannelsAnswer<Payload> | undefined> {
        return this.#onceConnected('subscribe', 'subscribe', (conn_id) => ({ channels, conn_id }));
    }

    /** Leaves channels, as soon as there is a connection. */
    unsubscribe(channels: string[]): Promise<ChannelsAnswer<Payload>> {
        return this.#onceConnected('unsubscribe', 'unsubscribe', (conn_id) => ({ channels, conn_id }));
    }

    /**
     * Changes the user's state, as soon as there is a connection. The application receives it as
     * `update_state`.
     */
    updateUserState<Data = unknown>(state: unknown): Promise<Data> {
        return this.#onceConnected('setUserState', 'userState', (conn_id) => ({
            username: this.username,
            conn_id,
            update_state: state,
        }));
    }

    /** Sends a message to the application, in the form that the application wants. */
    publish<Data = unknown>(message: unknown): Promise<Data> {
        return this.#call('message', 'POST', message);
    }

    /** Edits a message. */
    edit<Data = unknown>(message: unknown): Promise<Data> {
        return this.#call('messageEdit', 'PATCH', message);
    }

    /** Deletes a message. */
    delete<Data = unknown>(message: unknown): Promise<Data> {
        return this.#call('messageDelete', 'DELETE', message);
    }

    /** Stops a growing message, if its sender allows this user to. */
    cancel(uuid: string): Promise<AppendAnswer> {
        return this.#onceConnected('cancel', 'cancel', (conn_id) => ({ conn_id, uuid }));
    }

    /**
     * Closes the connection, on the server too if `disconnectUrl` is set. Resolves with the
     * server's answer, or `undefined` if nothing was asked. If the answer to `connect()` is still to come, the
     * connection that it names is ended as soon as it arrives.
     */
    disconnect(): Promise<unknown> {
        return promised(() => {
            const pending = this.disconnectUrl ? this.#pending : null;
            if (pending) this.#pending = null;
            const named = pending?.answer.then(({ ok, data }) => {
                const id = ok && data?.conn_id;
                // An application may name the same connection to a later connect().
                const isUsed = id === this.connectionId && (this._listening.active || this.#pending);
                return isUsed ? undefined : this.#end(id);
            });
            const current = this.#end(this.connectionId);
            this.#close();
            return Promise.all([current, named]).then((answers) => answers[1] ?? answers[0]);
        });
    }

    /**
     * Stops listening, and drops calls that wait for a connection: their promises reject. `connect()`
     * starts again.
     */
    close(): void {
        this.#close();
    }

    /**
     * Iterates over the events from now on, until the connection is closed: by `disconnect()`, `close()`,
     * the signal, or for good by the other side.
     */
    [Symbol.asyncIterator](): AsyncIterableIterator<ServerEvent<Payload>> {
        const queue: EventQueue<ServerEvent<Payload>> = new EventQueue(() => this.#queues.delete(queue));
        this.#queues.add(queue);
        if (this.#signal?.aborted) queue.end();
        return queue;
    }

    /**
     * Receives all that happens, for the callbacks of older clients.
     * @internal
     */
    protected _notify(_notice: Notice, ..._details: unknown[]): void {}

    /** @internal */
    protected _answered(_notice: Notice, _answer: Answer): void {}

    /** @internal */
    protected _begin(state: ConnectionState = 'connecting'): void {
        this.#connect(state);
    }

    /**
     * Listens on the current connection, after a report.
     * @internal
     */
    protected _listen(report: () => void): void {
        const { epoch } = this._listening;
        report();
        if (epoch === this._listening.epoch) this._listening.start(true);
    }

    #connect(state: ConnectionState): void {
        this.#signal?.throwIfAborted();
        const { username, channels } = this;
        const request = this.#request('connect', { username, channels });
        this._drop();
        this._recovery.begin();
        const answer = request.send('POST', CONNECTING, this.fetch);
        const pending = (this.#pending = { request, answer });
        void answer.then((answer) => {
            if (this.#pending !== pending) return;
            this.#pending = null;
            if (answer.ok && answer.data?.conn_id) this._connected(answer);
            else this.#connectFailed(answer);
        });
        this._setState(state);
    }

    /** @internal */
    protected _connected(answer: Answer): void {
        const { data } = answer;
        const { epoch } = this._listening;
        const connecting = this.#connecting.splice(0);
        this._recovery.renewed();
        this.connectionId = data.conn_id;
        this._setChannels(data);
        this.#drawn = versionsIn(data);
        this._answered('connect', answer);
        this.#emit('connect', data);
        for (const { resolve } of connecting) resolve(data);
        if (epoch !== this._listening.epoch) return;
        for (const { send, resolve, reject } of this.#waiting.splice(0)) {
            try {
                resolve(send());
            } catch (error) {
                report(error);
                reject(error);
            }
        }
        this._listen(() => this._answered('beforeListening', answer));
    }

    #connectFailed(answer: Answer): void {
        const { epoch } = this._listening;
        const refused = isRefusal(answer.status);
        const again = !refused && this._recovery.retry();
        const error = this.#failed('connect', answer);
        // The page may have called connect() in the meantime.
        if (again || epoch !== this._listening.epoch) return;
        this.#giveUp('', error);
        if (!refused) return;
        this._answered('refused', answer);
        this.#emit('refused', error);
    }

    // Apart from `close()`, which a class that was written for an older client may have for itself.
    #close(): void {
        this._drop();
        this._recovery.end();
        const error = this.#giveUp('the connection was closed');
        for (const { reject } of this.#waiting.splice(0)) reject(error);
        this._notify('connectionClosed');
    }

    #end(id: string | null | undefined): Promise<unknown> | undefined {
        if (!id || !this.disconnectUrl) return;
        const request = this.#request('disconnect', { conn_id: id }, urlFor(this.disconnectUrl, id));
        return this.#send('disconnect', request, 'POST');
    }

    #call(call: 'message' | 'messageDelete' | 'messageEdit', method: string, body: unknown): Promise<any> {
        return promised(() => {
            const isDelete = call === 'messageDelete';
            const request = this.#request(call, isDelete ? null : body);
            // Mutators do not see the body of a delete.
            if (isDelete) request.body = body;
            return this.#send(call, request, method);
        });
    }

    /** Sends a request about the connection: now, or as soon as the pending connect names it. */
    #onceConnected(call: Call, type: MutatorType, body: (id: string) => unknown): Promise<any> {
        const send = () => {
            const request = this.#request(type, body(this.connectionId!));
            // A mutator may have found that there is nothing to join.
            const isEmpty = call === 'subscribe' && !request.body.channels?.length;
            if (isEmpty) return Promise.resolve();
            const post = () => this.#send(call, request, 'POST');
            return call.endsWith('subscribe') ? this.#inTurn(post) : post();
        };
        return promised(() => {
            const isComing = this._recovery.stale && (this.#pending || this._recovery.pending);
            if (this.connectionId && !isComing) return send();
            // A mutator may set it.
            if (!this.mutators[type]?.length) this.#urlOf(type);
            return new Promise((resolve, reject) => this.#waiting.push({ send, resolve, reject }));
        });
    }

    /** Sends what changes the channels once the last such request is answered, so that `channels` ends as it is. */
    #inTurn(send: () => Promise<any>): Promise<any> {
        const sent = this.#turn ? this.#turn.then(send) : send();
        const turn = (this.#turn = sent
            .catch(() => {})
            .then(() => {
                if (this.#turn === turn) this.#turn = undefined;
            }));
        return sent;
    }

    #urlOf(type: MutatorType): string {
        const url = this[`${type}Url`];
        if (!url) throw new ChannelStreamError(type, `${type}Url is not set`);
        return url;
    }

    /** Makes a request and lets mutators change it. Throws if it has no URL. */
    #request(type: MutatorType, body: unknown, url: string = this[`${type}Url`]): OutgoingRequest {
        const request = new OutgoingRequest(url, body);
        // These usually go to the push server, whose cross-origin answers allow neither.
        if (type !== 'disconnect' && type !== 'cancel') {
            request.credentials = this.credentials;
            request.headers = Object.entries(this.headers).map(([name, value]) => ({ name, value }));
        }
        for (const mutate of this.mutators[type] ?? []) mutate(request);
        if (!request.url) this.#urlOf(type);
        return request;
    }

    /** Sends a request, reports its answer and resolves with it. */
    async #send(call: Call, request: OutgoingRequest, method: string): Promise<any> {
        const answer = await request.send(method, 0, this.fetch);
        if (!answer.ok) throw this.#failed(call, answer);
        if (call.endsWith('subscribe')) this._setChannels(answer.data);
        this._answered(call, answer);
        return answer.data;
    }

    /** @internal */
    protected _setChannels(data: Partial<ChannelsAnswer> | null): void {
        for (const { history } of Object.values(data?.channels_info?.channels ?? {})) addDates(history);
        if (data?.channels) this.channels = data.channels;
        this._notify('channelsChanged', this.channels);
        this.#emit('channels', this.channels);
    }

    /** @internal */
    protected _received(data: unknown): void {
        this._recovery.received();
        const list: any[] = Array.isArray(data) ? data : [];
        const last = list.at(-1);
        const events = this.cursor === false ? list : list.filter((event) => this.#isNews(event));
        // An empty list is a heartbeat.
        if (last && !events.length) return this.#advance(last);
        addDates(events);
        for (const queue of this.#queues) events.forEach((event) => queue.push(event));
        this._notify('listenMessage', last ? events : data);
        for (const event of events) {
            this.#advance(event);
            this.#emit('event', event);
            this.#emit(event?.type, event);
        }
        this.#advance(last);
    }

    #advance(event: any): void {
        if (this.cursor !== false && typeof event?.seq === 'string') this.cursor = event.seq;
    }

    /** Whether an event tells the page anything: bare cursors and what is in the history of connect do not. */
    #isNews(event: any): boolean {
        const isDrawn =
            event?.type === 'message' && event.catchup && this.#drawn.get(event.uuid) === versionOf(event);
        return event?.type !== 'cursor' && !isDrawn;
    }

    #failed(call: Call | 'listen', answer: Answer): ChannelStreamError {
        this._answered(`${call}Error`, answer);
        return this.#error(`${call}Error`, `${call}: status ${answer.status}`, answer);
    }

    #error(source: string, message: string, answer?: Answer): ChannelStreamError {
        const error = new ChannelStreamError(source, message, answer);
        this._notify('error', error);
        this.#emit('error', error);
        return error;
    }

    #emit(name: string, detail: unknown): void {
        this.dispatchEvent(new CustomEvent(PREFIX + name, { detail }));
    }

    /** The transport ended or is about to. */
    #lost(): void {
        if (this.#state === 'open') this._setState('reconnecting');
    }

    /** @internal */
    protected _setState(state: ConnectionState): void {
        const previous = this.#state;
        this.#state = state;
        if (state !== previous) this.#emit('state', { state, previous });
    }

    /**
     * Ends what listens or is about to, without a report.
     * @internal
     */
    protected _drop(): void {
        this._listening.stop();
        this.#pending?.request.abort();
        this.#pending = null;
        this._recovery.cancel();
    }

    /** Ends loops and rejects `connect()`: nothing is tried until it is called again. */
    #giveUp(reason: string, error = new ChannelStreamError('connectError', reason)): ChannelStreamError {
        for (const queue of this.#queues) queue.end();
        for (const { reject } of this.#connecting.splice(0)) reject(error);
        this._setState('closed');
        return error;
    }
}

/** What tells two states of the same message apart. */
function versionOf({ edited, rev, status }: Partial<MessagePosted>): string {
    return `${edited} ${rev} ${status}`;
}

/** The messages in an answer, by their ids. */
function versionsIn(answer: Partial<ConnectAnswer>): Map<string, string> {
    const histories = Object.values(answer.channels_info?.channels ?? {}).flatMap(({ history }) => history ?? []);
    return new Map(histories.map((message) => [message?.uuid, versionOf(message ?? {})]));
}

/** Set by the build, from package.json. */
declare const VERSION: string;
