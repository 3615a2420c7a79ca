// When a page comes back to life or to the network, and when it is put away.

/**
 * Calls `wake` when the network is back, the page is seen again or comes out of the back/forward
 * cache, and `sleep` when it is left, since it may go into that. Returns what ends the watching.
 * A worker has the network's event alone.
 */
export function watch(wake: () => void, sleep: () => void): () => void {
    const scope = globalThis;
    const page = typeof document === 'undefined' ? undefined : document;
    const seen = () => page!.visibilityState === 'visible' && wake();
    const shown = (event: Event) => (event as PageTransitionEvent).persisted && wake();
    scope.addEventListener?.('online', wake);
    scope.addEventListener?.('pageshow', shown);
    scope.addEventListener?.('pagehide', sleep);
    page?.addEventListener('visibilitychange', seen);
    return () => {
        scope.removeEventListener?.('online', wake);
        scope.removeEventListener?.('pageshow', shown);
        scope.removeEventListener?.('pagehide', sleep);
        page?.removeEventListener('visibilitychange', seen);
    };
}
