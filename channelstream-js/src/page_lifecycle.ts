// When a page becomes visible or online again, and when it is left.

/**
 * Calls `wake` when the network is back, when the page becomes visible and when it returns from the
 * back/forward cache. Calls `sleep` when the page is left, since it may enter that cache. Returns a
 * function that stops watching. A worker has only the event of the network, and Node has none.
 */
export function watchPage(wake: () => void, sleep: () => void): () => void {
    const scope = globalThis;
    const page = typeof document === 'undefined' ? undefined : document;
    const visible = () => page!.visibilityState === 'visible' && wake();
    const shown = (event: Event) => (event as PageTransitionEvent).persisted && wake();
    const watched: [EventTarget | undefined, string, (event: any) => void][] = [
        [scope, 'online', wake],
        [scope, 'pageshow', shown],
        [scope, 'pagehide', sleep],
        [page, 'visibilitychange', visible],
    ];
    for (const [target, type, listener] of watched) target?.addEventListener?.(type, listener);
    return () => {
        for (const [target, type, listener] of watched) target?.removeEventListener?.(type, listener);
    };
}
