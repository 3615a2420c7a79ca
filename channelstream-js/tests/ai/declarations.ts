// What the declarations of the chat transport let a page write, and what not: checked by the compiler, never run.
// Apart from the others, since the declarations of the AI SDK stand only unchecked beside strict ones.
import type { ChatTransport, UIMessage } from 'ai';
import { ChannelStreamConnection } from '@channelstream/channelstream';
import { ChannelstreamChatTransport } from '@channelstream/channelstream/ai';
import { SharedConnection } from '@channelstream/channelstream/shared';

type Own = UIMessage<{ at: number }>;

const connection = new ChannelStreamConnection<{ text: string }>({ cancelUrl: '/cancel' });
const transport = new ChannelstreamChatTransport<Own>({
    connection,
    api: '/chat',
    headers: async () => ({ 'x-csrf': 'token' }),
    body: { model: 'small' },
    textKey: 'words',
    cancelOnAbort: false,
    onStatus: (status, { chatId, uuid }) => [status === 'stalled', chatId + uuid],
    prepareSendMessagesRequest: ({ id, messages }) => ({ body: { id, at: messages.at(-1)?.metadata?.at } }),
});
transport satisfies ChatTransport<Own>;
new ChannelstreamChatTransport({ connection: new SharedConnection({}) }) satisfies ChatTransport<UIMessage>;

export async function calls(): Promise<boolean> {
    return transport.cancel('42');
}

// @ts-expect-error: no connection
new ChannelstreamChatTransport({ api: '/chat' });
// @ts-expect-error: no such option
new ChannelstreamChatTransport({ connection, key: 'text' });
// @ts-expect-error: no such status
new ChannelstreamChatTransport({ connection, onStatus: (status) => status === 'over' });
