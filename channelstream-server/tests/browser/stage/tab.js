// The script of a page whose tabs share one connection.
import { messages } from '/client/messages.js';
import { SharedConnection } from '/client/shared.js';

window.make = (settings) => {
    const connection = (window.connection = new SharedConnection(settings));
    window.view = messages(connection);
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
