// Which transport worked lately from this browser to a server, for the pages that are opened next.

/** How long it is believed, in ms: a computer moves to other networks. */
const LIFE = 3_600_000;

const keyOf = (url: string) => `channelstream:${url}`;

/** Returns what was stored for a server within the last hour. */
export function recall(url: string): string | undefined {
    try {
        const [name, time] = localStorage.getItem(keyOf(url))!.split(' ');
        const age = Date.now() - Number(time);
        return age >= 0 && age < LIFE ? name : undefined;
    } catch {
        // No storage, or nothing in it.
        return;
    }
}

/** Stores the name of a transport; `undefined` if the first one works. */
export function remember(url: string, name: string | undefined): void {
    try {
        if (name) localStorage.setItem(keyOf(url), `${name} ${Date.now()}`);
        else localStorage.removeItem(keyOf(url));
    } catch {
        // Then each page finds out for itself.
    }
}
