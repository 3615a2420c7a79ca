// What an append does to the payload of a message: the same as at the server.

/** Returns the payload with what is appended, as a new object; `undefined` if it does not fit. */
export function appended(payload: unknown, append: Record<string, string | unknown[]>): unknown {
    let grown: unknown = payload ?? {};
    try {
        for (const [key, more] of Object.entries(append)) grown = grow(grown, pathOf(key), more);
    } catch (error) {
        if (error instanceof Misfit) return;
        throw error;
    }
    return grown;
}

class Misfit extends Error {}

/** A key that begins with `/` is a JSON Pointer. */
function pathOf(key: string): string[] {
    if (!key.startsWith('/')) return [key];
    const steps = key.slice(1).split('/');
    return steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function grow(node: unknown, [step, ...steps]: string[], more: string | unknown[]): unknown {
    if (step === undefined) return joined(node, more);
    if (Array.isArray(node)) {
        const index = /^(0|[1-9]\d*)$/.test(step) ? Number(step) : NaN;
        // Beyond the end there is room for one more, and only for the last step.
        if (!(index < node.length || (index === node.length && !steps.length))) throw new Misfit();
        const copy = node.slice();
        copy[index] = grow(node[index], steps, more);
        return copy;
    }
    if (typeof node !== 'object' || node === null) throw new Misfit();
    const there = Object.hasOwn(node, step);
    if (!there && steps.length) throw new Misfit();
    const value = there ? (node as Record<string, unknown>)[step] : undefined;
    return { ...node, [step]: grow(value, steps, more) };
}

function joined(node: unknown, more: string | unknown[]): unknown {
    if (node === undefined) return more;
    if (typeof node === 'string' && typeof more === 'string') return node + more;
    if (Array.isArray(node) && Array.isArray(more)) return [...node, ...more];
    throw new Misfit();
}
