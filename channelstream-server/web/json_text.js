// JSON whose numbers keep all digits, while numbers of JavaScript hold 16 or 17.

/** Indents JSON. */
export function indent(json) {
  let depth = 0;
  let out = '';
  const line = () => `\n${'  '.repeat(depth)}`;
  for (const [token] of json.matchAll(/"(?:\\.|[^"\\])*"|\{\s*\}|\[\s*\]|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === '{' || token === '[') {
      depth += 1;
      out += token + line();
    } else if (token === '}' || token === ']') {
      depth -= 1;
      out += line() + token;
    } else if (token === ',') out += token + line();
    else if (token === ':') out += ': ';
    else out += /^[{[]/.test(token) ? token.replace(/\s/g, '') : token;
  }
  return out;
}

/** Parses JSON that is written again later. Numbers keep their text, if the browser supports that. */
export function parseExact(json) {
  if (!JSON.rawJSON) return JSON.parse(json);
  return JSON.parse(json, (_, value, { source }) => (typeof value === 'number' ? JSON.rawJSON(source) : value));
}
