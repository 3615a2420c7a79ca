/** Settings of a server for a test. */
export interface TestServerOptions {
    /** The program; otherwise the one that `CHANNELSTREAM_SERVER` names, or the first on `PATH`. */
    program?: string;
    /** Settings of the server by their names, such as `gc_conns_after`. */
    settings?: Record<string, string | number | boolean>;
}

/** The real server as a process of its own on a free port, with nothing in it yet. For Node. */
export declare class TestServer {
    private constructor();
    /** Starts a server and waits until it listens. Rejects with what the server says if it does not. */
    static start(options?: TestServerOptions): Promise<TestServer>;
    /** The address, such as `http://127.0.0.1:43211`. */
    readonly url: string;
    /** The secret with which backends sign. */
    readonly secret: string;
    /** The end of what the server has logged. */
    readonly log: string;
    /** A signed call of the backend API: the JSON of its answer. Rejects with what the server refused. */
    call(path: string, body?: unknown, method?: string): Promise<unknown>;
    /**
     * Lets time pass on the server. What is due by then has happened when the promise resolves. Heartbeats, and
     * the time-outs of requests, go by the clock of the machine. Resolves to how late it is on the server.
     */
    advance(seconds: number): Promise<Date>;
    /** Ends the server. */
    stop(): Promise<void>;
}
