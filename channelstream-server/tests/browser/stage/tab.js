// The script of a page that uses all of our client: a view of messages, and a connection of its own or one
// that its tabs share.
import { ChannelStreamConnection } from '/client/index.js';
import { messages } from '/client/messages.js';
import { SharedConnection } from '/client/shared.js';

window.make = (settings, isShared) => {
    const Connection = isShared ? SharedConnection : ChannelStreamConnection;
    const connection = (window.connection = new Connection(settings));
    // More than a fast machine publishes in a test.
    window.view = messages(connection, { limit: 100_000 });
    // What the page was told, in order: texts of messages and the names of other events.
    window.told = [];
    window.connects = [];
    window.states = [];
    connection.on('event', ({ type, message }) => window.told.push(type === 'message' ? message.text : type));
    connection.on('connect', ({ conn_id }) => window.connects.push(conn_id));
    connection.on('state', ({ state }) => window.states.push(state));
    return connection;
};
document.documentElement.dataset.ready = 'yes';
