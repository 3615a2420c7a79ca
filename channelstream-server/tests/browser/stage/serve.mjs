// An HTTP server of the test's own on a free port.
import { once } from 'node:events';
import { createServer } from 'node:http';

/** Serves until it is closed, which cuts all connections. */
export async function serve(answer) {
    const http = createServer(answer).listen(0, '127.0.0.1');
    await once(http, 'listening');
    const close = () => {
        http.close();
        http.closeAllConnections();
    };
    return { http, address: `127.0.0.1:${http.address().port}`, close };
}
