// The page: useChat with a transport that resumes and stops answers.
import { Chat, useChat } from '@ai-sdk/react';
import { ChannelstreamChatTransport } from '@channelstream/channelstream/ai';
import { SharedConnection } from '@channelstream/channelstream/shared';
import { StrictMode, useCallback, useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';

const id = 'demo';
const load = async () => {
    const answer = await fetch(`/api/chat/${id}`);
    if (!answer.ok) throw new Error(`the chat cannot be loaded: status ${answer.status}`);
    return answer.json();
};

function Page({ chat, connection }) {
    const { messages, status, error, sendMessage, stop } = useChat({ chat, resume: true });
    const watch = useCallback((onChange) => connection.on('state', onChange), [connection]);
    const state = useSyncExternalStore(watch, () => connection.state);
    const isBusy = status === 'submitted' || status === 'streaming';

    const send = (event) => {
        event.preventDefault();
        const { text } = event.currentTarget.elements;
        sendMessage({ text: text.value });
        text.value = '';
    };
    const textOf = ({ parts }) => parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
    const note = error?.message ?? (state === 'open' ? status : state);
    return (
        <>
            <ul id="log" aria-live="polite">
                {messages.map((message) => (
                    <li key={message.id} data-role={message.role}>
                        <b>{message.role}</b>
                        <p>{textOf(message)}</p>
                    </li>
                ))}
            </ul>
            <form onSubmit={send}>
                <label htmlFor="text">Ask</label>
                <input id="text" name="text" required maxLength="200" autoComplete="off" />
                <button disabled={isBusy}>Send</button>
                <button type="button" onClick={stop} disabled={!isBusy}>Stop</button>
            </form>
            <p id="note" role="status">{note}</p>
        </>
    );
}

async function start() {
    const { push, messages } = await load();
    const connection = new SharedConnection({
        username: 'ann', // the application decides who it is
        channels: [`chat:${id}`],
        connectUrl: '/connect',
        websocketUrl: `${push.replace('http', 'ws')}/ws`,
        eventStreamUrl: `${push}/sse`,
        longPollUrl: `${push}/listen`,
        cancelUrl: `${push}/cancel`,
        disconnectUrl: `${push}/disconnect`,
    });
    // Made outside of the component: React ends what it made itself, and with it the answer, whenever it unmounts one.
    const chat = new Chat({ id, messages, transport: new ChannelstreamChatTransport({ connection }) });
    // An answer that was asked for in another tab.
    connection.on('message', async ({ status }) => {
        if (status !== 'open' || chat.status === 'submitted' || chat.status === 'streaming') return;
        chat.messages = (await load()).messages;
        await chat.resumeStream();
    });
    connection.connect();
    createRoot(document.getElementById('root')).render(
        <StrictMode>
            <Page chat={chat} connection={connection} />
        </StrictMode>,
    );
}

start().catch(({ message }) => (document.getElementById('root').textContent = message));
