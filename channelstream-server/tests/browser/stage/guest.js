// The script of a page under a strict policy, which uses the client that the push server serves.
import * as client from 'CLIENT';

window.client = client;
window.log = [];
const NAMES = [
    'connect', 'connectError', 'beforeListening', 'listenOpened', 'listenMessage', 'listenClose',
    'listenError', 'connectionClosed', 'channelsChanged', 'disconnect', 'disconnectError', 'error',
    'refused',
];

// What an event told, as far as it can leave the page.
function told(detail) {
    if (detail instanceof CloseEvent) return { code: detail.code, reason: detail.reason };
    if (detail instanceof Error) return { source: detail.source, message: detail.message };
    if (detail?.request) return { status: detail.request.status, data: detail.data };
    return Array.isArray(detail) ? detail : null;
}

window.make = (settings) => {
    window.connection = settings ? new client.ChannelStreamConnection(settings) : new client.ChannelStreamConnection();
    for (const name of NAMES) {
        window.connection.addEventListener(name, ({ detail }) => window.log.push({ name, told: told(detail) }));
    }
    return window.connection;
};
document.documentElement.dataset.ready = 'yes';
