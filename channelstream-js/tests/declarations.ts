// What the declarations let a page write, and what not: checked by the compiler, never run.
import {
    ChannelStreamConnection,
    ChannelStreamError,
    ChannelStreamSigner,
    type ConnectAnswer,
    type ConnectionState,
    type Frame,
    type MessagePosted,
} from '@channelstream/channelstream';
import { messages, type MessageChange } from '@channelstream/channelstream/messages';
import { SharedConnection } from '@channelstream/channelstream/shared';

interface Line {
    text: string;
}

class Own extends ChannelStreamConnection<Line> {
    override connectCallback(_: XMLHttpRequest, { channels_info }: ConnectAnswer<Line>) {
        const texts = channels_info.channels['a']!.history.map(({ message }) => message?.text);
        texts satisfies (string | undefined)[];
    }
}

const own = new Own({ username: 'ann', channels: ['a'], signal: new AbortController().signal });

// The payload's type reaches every event and answer.
own.on('message', (message) => {
    message satisfies MessagePosted<Line>;
    // @ts-expect-error: the payload has no such field
    message.message?.body;
});
own.on('message:edit', ({ message }) => message?.text.length);
own.on('event', (event) => (event.type === 'message' ? event.message?.text : event.uuid));
new ChannelStreamConnection().on('message', ({ message }) => {
    // @ts-expect-error: without a type the payload is unknown
    message.text;
});

// Growing messages, gaps and cursors.
own.on('message:append', ({ append, from, rev, status }) => [append['text'], from + rev, status === 'done']);
own.on('gap', ({ channel, reason }) => [channel, reason === 'evicted']);
own.cursor satisfies string | null | false;
const view = messages(own, { channel: null, limit: 10 });
view.onChange(({ message, append }: MessageChange<Line>) => [message?.message?.text, append?.['text']]);
view.list[0]?.message?.text satisfies string | undefined;
// @ts-expect-error: the payload has no such field
view.get('uuid')?.message?.body;
// @ts-expect-error: no such option
messages(own, { channels: [] });
// @ts-expect-error: no such transport
new ChannelStreamConnection({ transports: ['carrier pigeon'] });
const shared = new SharedConnection<Line>({ transports: ['eventStream', 'poll'], cursor: sessionStorage.getItem('cursor') });
messages(shared).load([]);
shared.leads satisfies boolean;

// Names and details of events are checked.
own.on('presence', ({ message }) => message.action satisfies 'joined' | 'parted');
own.on('user_state_change', ({ message }) => message.changed[0]?.key);
own.on('channels', (channels: string[]) => channels.length);
own.on('error', (error: ChannelStreamError) => error.status + 1);
own.on('refused', ({ data, status }) => [data, status]);
own.on('state', ({ state, previous }) => [state, previous] satisfies ConnectionState[]);
const remove: () => void = own.on('connect', ({ conn_id, channels_info }) => [conn_id, channels_info]);
remove();
// @ts-expect-error: no such event
own.on('messages', () => {});
// @ts-expect-error: the detail is a list of channels
own.on('channels', (channel: string) => channel);
// @ts-expect-error: the detail of another event
own.on('message:delete', (message: MessagePosted<Line>) => message.user);
// @ts-expect-error: no such state
own.state === 'connected';
// @ts-expect-error: the state cannot be set
own.state = 'open';

// Calls resolve with answers.
export async function calls(): Promise<void> {
    const { channels_info } = await own.connect();
    channels_info.channels['a']?.history[0]?.message?.text.length;
    (await own.subscribe(['b']))?.channels.length;
    (await own.unsubscribe(['b'])).channels.length;
    const sent: { uuid: string }[] = await own.publish<{ uuid: string }[]>({ text: 'hello' });
    await own.edit({ uuid: sent[0]?.uuid });
    await own.delete({ uuid: sent[0]?.uuid });
    await own.updateUserState({ color: 'red' });
    (await own.cancel('uuid')).taken satisfies boolean;
    await own.disconnect();
    // @ts-expect-error: a text is not a list
    await own.subscribe('a');
    // @ts-expect-error: the answer of the application is unknown
    (await own.publish({})).uuid;
}

// Options.
own.addMutator('connect', (request) => (request.body.state = {}));
own.addMutator('message', (request) => (request.credentials = 'include'));
new ChannelStreamConnection({ fetch, WebSocket, credentials: 'include', headers: { 'x-csrf': 'token' } });
// @ts-expect-error: no such mutators
own.addMutator('connected', () => {});
// @ts-expect-error: no such option
new ChannelStreamConnection({ user: 'ann' });
// @ts-expect-error: not a fetch
new ChannelStreamConnection({ fetch: (url: string) => url });

// Members of older clients.
own.listenMessageCallback = (frames) => frames.map((frame: Frame) => frame.uuid);
own.listenErrorCallback = (first, second) => void [first, second];
own.addEventListener('connect', ({ detail }) => detail.data.conn_id.length);
own.addEventListener('listenClose', ({ detail: { code } }) => code + 1);
own.addEventListener('listenError', ({ detail }) => ('request' in detail ? detail.request.status : detail.type));
own.addEventListener('error', ({ detail }) => detail satisfies ChannelStreamError);
own.addEventListener('error', ({ detail }) => detail.request?.responseText);
own.addEventListener('anything else', (event: Event) => event.type);
own.addEventListener('refused', ({ detail }) => [detail.status + 1, detail.request.status, detail.data]);
own.refusedCallback = (request) => request.status;
own.message({ text: 'hello' }) satisfies Promise<unknown>;
own.connected satisfies boolean;

export async function first(connection: ChannelStreamConnection<Line>): Promise<string> {
    for await (const event of connection) {
        if (event.type === 'presence') return event.message.action;
        if (event.type === 'user_state_change') return event.message.changed[0]!.key;
        if (event.type === 'message') event.sentAt.getTime();
        if (event.type === 'message' && event.message) return event.message.text;
        // @ts-expect-error: edits may have none
        if (event.type === 'message:edit') event.sentAt.getTime();
        // @ts-expect-error: edits and deletes have none
        event.timestamp.length;
    }
    return new ChannelStreamSigner('secret').signRequest();
}
