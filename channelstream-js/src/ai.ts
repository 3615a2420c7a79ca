// A transport for the AI SDK's useChat: answers are growing messages, which a page resumes and stops.
import type { ChatTransport, HttpChatTransportInitOptions, UIMessage, UIMessageChunk } from 'ai';
import { jittered, longer } from './backoff.js';
import { LONGEST_TEXT, type Version } from './chunks.js';
import type { ChannelStreamConnection } from './compat.js';
import { report } from './error.js';
import { Following, versionOf } from './following.js';
import { ChannelStreamError } from './index.js';
import type { AppendAnswer, MessageStatus } from './protocol.js';
import { isRefusal } from './request.js';

/** How many ms the application may take when it is asked for a message that was lost. */
const ASKING = 30_000;

/** How often a cancel is tried if there is no answer, and the first delay in ms. */
const MOST_CANCELS = 5;
const CANCEL_DELAY = 500;

type Send = Parameters<ChatTransport<UIMessage>['sendMessages']>[0];
type Reconnect = Parameters<ChatTransport<UIMessage>['reconnectToStream']>[0];
type Chat = Omit<Reconnect, 'abortSignal'>;

/** What is asked of the application: those of `DefaultChatTransport`, and what is between page and push server. */
export interface ChannelstreamChatTransportOptions<Message extends UIMessage = UIMessage>
    extends HttpChatTransportInitOptions<Message> {
    /** The page's connection. It is connected with the first answer, if it was not before. */
    connection: ChannelStreamConnection<any>;
    /** Where the payload of an answer has its text, `text` by default. */
    textKey?: string;
    /**
     * Whether an aborted stream ends the answer for all, `true` by default. With `false` it only ends
     * here, and `cancel(chatId)` ends it for all.
     */
    cancelOnAbort?: boolean;
    /** Called with each status of an answer that is new: `stalled`, for instance, which the SDK does not know. */
    onStatus?: (status: MessageStatus, answer: { chatId: string; uuid: string }) => void;
}

/** A stream of a chat. */
interface Running {
    following: Following;
    answered: Promise<Version | null>;
}

export class ChannelstreamChatTransport<Message extends UIMessage = UIMessage> implements ChatTransport<Message> {
    /** A resumed answer comes from its beginning. */
    readonly resumeStreamIsReplay = true;
    readonly #options: ChannelstreamChatTransportOptions<Message>;
    /** The newest stream of each chat that has one. */
    readonly #running = new Map<string, Running>();

    constructor(options: ChannelstreamChatTransportOptions<Message>) {
        this.#options = options;
    }

    /** Sends the chat to the application, which answers with the message that is going to grow. */
    async sendMessages(options: Send & { messages: Message[] }): Promise<ReadableStream<UIMessageChunk>> {
        const { abortSignal: signal } = options;
        signal?.throwIfAborted();
        // The request goes on after an abort: only its answer names what is to be stopped.
        const running = this.#run(options, () => this.#send(options));
        const cancel = () => {
            if (!this.#cancelsOnAbort) return;
            running.answered.then((version) => this.#cancelForGood(version!.uuid), () => {});
        };
        return (await this.#begun(running, signal, cancel))!;
    }

    /** Asks the application for the answer that grows in a chat. `null` if there is none. */
    reconnectToStream(options: Reconnect): Promise<ReadableStream<UIMessageChunk> | null> {
        const { chatId, abortSignal: signal } = options;
        const running = this.#run(options, () => this.#ask(options, signal));
        let uuid: string | undefined;
        void running.answered.then((version) => (uuid = version?.uuid), () => {});
        const cancel = () => {
            // Nobody has seen the answer that is still asked for: the SDK aborts that where a component is mounted twice.
            if (!uuid || !this.#cancelsOnAbort) return;
            const stopped = uuid;
            // The SDK aborts a stream as well to resume it anew, which it does at once.
            queueMicrotask(() => {
                const newest = this.#running.get(chatId);
                if (newest === undefined || newest === running) this.#cancelForGood(stopped);
            });
        };
        return this.#begun(running, signal, cancel);
    }

    /**
     * Ends the answer of a chat for all pages, and its publisher learns it. Resolves with `false` if nothing runs, or
     * if the answer had ended before.
     */
    async cancel(chatId: string): Promise<boolean> {
        const version = await this.#running.get(chatId)?.answered;
        return version ? (await this.#cancel(version.uuid)).taken : false;
    }

    get #cancelsOnAbort(): boolean {
        return this.#options.cancelOnAbort !== false;
    }

    /** Hears the connection before the application is asked: the answer may grow before it is known. */
    #run(options: Chat, ask: () => Promise<Version | null>): Running {
        const { connection, textKey = 'text', onStatus } = this.#options;
        const { chatId } = options;
        const following = new Following(connection, {
            key: textKey,
            ask: (signal) => this.#ask(options, signal),
            onStatus: ({ status, uuid }) => {
                try {
                    onStatus?.(status, { chatId, uuid });
                } catch (error) {
                    report(error);
                }
            },
            onEnd: () => this.#running.get(chatId) === running && this.#running.delete(chatId),
        });
        const running: Running = { following, answered: ask() };
        this.#running.set(chatId, running);
        return running;
    }

    /** Resolves with the stream once the application has answered. */
    async #begun(
        { following, answered }: Running,
        signal: AbortSignal | undefined,
        cancel: () => void,
    ): Promise<ReadableStream<UIMessageChunk> | null> {
        try {
            const version = await unlessAborted(answered, signal);
            if (version) {
                const stop = () => {
                    cancel();
                    following.abort();
                };
                signal?.addEventListener('abort', stop, { once: true });
                following.begin(version, () => signal?.removeEventListener('abort', stop));
                return following.stream;
            }
        } catch (error) {
            if (signal?.aborted) cancel();
            following.close();
            throw error;
        }
        following.close();
        return null;
    }

    async #send({ chatId, messages, trigger, messageId, metadata, headers, body }: Send & { messages: Message[] }) {
        const given = await this.#given(headers, body);
        const prepared = await this.#options.prepareSendMessagesRequest?.({
            ...given,
            id: chatId,
            messages,
            requestMetadata: metadata,
            trigger,
            messageId,
        });
        const whole = prepared?.body ?? { ...given.body, id: chatId, messages, trigger, messageId };
        const version = await this.#request('POST', prepared?.api ?? given.api, {
            headers: { 'content-type': 'application/json', ...flat(prepared?.headers ?? given.headers) },
            body: JSON.stringify(whole),
            ...credentialsOf(prepared?.credentials ?? given.credentials),
        });
        if (!version) throw new ChannelStreamError('chat', 'the application answers with no message');
        return version;
    }

    async #ask({ chatId, metadata, headers, body }: Chat, signal?: AbortSignal): Promise<Version | null> {
        const given = await this.#given(headers, body);
        const prepared = await this.#options.prepareReconnectToStreamRequest?.({
            ...given,
            id: chatId,
            requestMetadata: metadata,
        });
        const url = prepared?.api ?? reconnectUrl(given.api, chatId);
        const end = new AbortController();
        const abort = () => end.abort(signal?.reason);
        const timer = setTimeout(() => end.abort(new Error('the application does not answer')), ASKING);
        signal?.addEventListener('abort', abort, { once: true });
        if (signal?.aborted) abort();
        try {
            return await this.#request('GET', url, {
                headers: flat(prepared?.headers ?? given.headers),
                ...credentialsOf(prepared?.credentials ?? given.credentials),
                signal: end.signal,
            });
        } finally {
            clearTimeout(timer);
            signal?.removeEventListener('abort', abort);
        }
    }

    /** What options and call say together, as `DefaultChatTransport` gives it to the functions that prepare requests. */
    async #given(headers: Chat['headers'], body: object | undefined) {
        const { api = '/api/chat', ...options } = this.#options;
        return {
            api,
            body: { ...(await resolved<object>(options.body)), ...body },
            headers: { ...flat(await resolved(options.headers)), ...flat(headers) },
            credentials: await resolved<RequestCredentials>(options.credentials),
        };
    }

    /** Resolves with the message that the application answers, `null` if it has none (204). */
    async #request(method: string, url: string, init: RequestInit): Promise<Version | null> {
        // What a query holds is in no error.
        const name = `${method} ${url.split(/[?#]/)[0]}`;
        const send = this.#options.fetch ?? globalThis.fetch;
        // The SDK knows the errors of a network that fails.
        const response = await send(url, { method, ...init });
        const data = parsed(await response.text());
        const { status } = response;
        if (status === 204) return null;
        if (!response.ok) throw errorOf(`${name}: status ${status}${reasonIn(data, response)}`, status, data);
        const version = versionOf(data);
        if (!version) throw errorOf(`${name}: the answer is no growing message`, status, data);
        return version;
    }

    #cancel(uuid: string): Promise<AppendAnswer> {
        return this.#options.connection.cancel(uuid);
    }

    /** Cancels, again if there is no answer. What fails is an event `error` of the connection as well. */
    async #cancelForGood(uuid: string): Promise<void> {
        // Whoever stops before the first answer has come follows none, which would have connected.
        const { connection } = this.#options;
        if (connection.state === 'idle') connection.connect().catch(() => {});
        for (let delay = 0, tries = 1; ; tries += 1) {
            try {
                await this.#cancel(uuid);
                return;
            } catch (error) {
                const isRequest = error instanceof ChannelStreamError && error.answer;
                // A URL that is not set is a mistake of the page.
                if (!isRequest) return report(error);
                if (tries === MOST_CANCELS || isRefusal(error.status)) return;
                delay = longer(delay, CANCEL_DELAY);
                await new Promise((resolve) => setTimeout(resolve, jittered(delay)));
            }
        }
    }
}

/** Rejects as soon as the signal is aborted. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
        const abort = () => reject(signal!.reason);
        if (signal?.aborted) abort();
        signal?.addEventListener('abort', abort, { once: true });
        promise.then(resolve, reject).finally(() => signal?.removeEventListener('abort', abort));
    });
}

/** Returns the URL of the answer that grows, which is that of `DefaultChatTransport`. */
function reconnectUrl(api: string, chatId: string): string {
    // URLs normalize these, however they are written.
    if (/^\.\.?$/.test(chatId)) throw new ChannelStreamError('chat', 'a chat cannot have the id "." or ".."');
    const [, path = '', more = ''] = /^([^?#]*)(.*)$/s.exec(api) ?? [];
    return `${path.replace(/\/$/, '')}/${encodeURIComponent(chatId)}/stream${more}`;
}

async function resolved<T>(value: unknown): Promise<T | undefined> {
    return (typeof value === 'function' ? value() : value) as Promise<T | undefined>;
}

function flat(headers: unknown): Record<string, string> {
    return Object.fromEntries(new Headers(headers as HeadersInit | undefined));
}

function credentialsOf(credentials: RequestCredentials | undefined): { credentials?: RequestCredentials } {
    return credentials ? { credentials } : {};
}

function parsed(text: string): any {
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}

/** The reason in the words of the application; none if it answers with a page. */
function reasonIn(data: any, { headers }: Response): string {
    const isPlain = headers.get('content-type')?.startsWith('text/plain');
    const { detail, error, message } = (typeof data === 'object' && data) || {};
    const reason = [detail, error?.message, error, message, isPlain && data].find((one) => one && typeof one === 'string');
    return reason ? `: ${reason.slice(0, LONGEST_TEXT)}` : '';
}

function errorOf(message: string, status: number, data: unknown): ChannelStreamError {
    return new ChannelStreamError('chat', message, { ok: false, status, text: '', data });
}
