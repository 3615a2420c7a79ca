// What the declarations let a page write, and what not: checked by the compiler, never run.
import {
    ChannelStreamConnection,
    ChannelStreamError,
    ChannelStreamSigner,
    type ConnectAnswer,
    type Frame,
} from '@channelstream/channelstream';

class Own extends ChannelStreamConnection {
    override connectCallback(_: XMLHttpRequest, { channels_info }: ConnectAnswer) {
        const texts: string[] = channels_info.channels['a']!.history.map(({ message }) => message.text);
        void texts;
    }
}

const own = new Own({ username: 'ann', channels: ['a'], signal: new AbortController().signal });
own.listenMessageCallback = (frames) => frames.map((frame: Frame) => frame.uuid);
own.listenErrorCallback = (first, second) => void [first, second];
own.addMutator('connect', (request) => (request.body.state = {}));
own.addEventListener('connect', ({ detail }) => detail.data.conn_id.length);
own.addEventListener('listenClose', ({ detail: { code } }) => code + 1);
own.addEventListener('listenError', ({ detail }) => ('request' in detail ? detail.request.status : detail.type));
own.addEventListener('error', ({ detail }) => detail satisfies ChannelStreamError);
own.addEventListener('anything else', (event: Event) => event.type);
own.addEventListener('refused', ({ detail }) => [detail.status + 1, detail.request.status, detail.data]);
own.refusedCallback = (request) => request.status;
// @ts-expect-error: no such mutators
own.addMutator('connected', () => {});
// @ts-expect-error: no such option
new ChannelStreamConnection({ user: 'ann' });
// @ts-expect-error: a text is no list
own.subscribe('a');

export async function first(connection: ChannelStreamConnection): Promise<string> {
    for await (const frame of connection) {
        if (frame.type === 'presence') return frame.message.action;
        if (frame.type === 'user_state_change') return frame.message.changed[0]!.key;
        if (frame.type === 'message') frame.sentAt.getTime();
        // @ts-expect-error: edits may have none
        if (frame.type === 'message:edit') frame.sentAt.getTime();
        // @ts-expect-error: edits and deletes have none
        frame.timestamp.length;
    }
    return new ChannelStreamSigner('secret').signRequest();
}
