// Reads the API document: references, and the fields of a schema as a flat list of paths.

/** Follows the reference of a schema or answer into the document, if it is one. */
export function resolve(api, node) {
  if (!node || !node.$ref) return node;
  const steps = node.$ref.slice(2).split('/');
  const target = steps.reduce(
    (place, step) => place[step.replaceAll('~1', '/').replaceAll('~0', '~')], api,
  );
  return resolve(api, target);
}

function limits(schema) {
  const parts = [];
  if (schema.minLength !== undefined) parts.push(`${schema.minLength} to ${schema.maxLength} characters`);
  else if (schema.maxLength !== undefined) parts.push(`at most ${schema.maxLength} characters`);
  if (schema.minItems !== undefined) parts.push(`at least ${schema.minItems}`);
  if (schema.minimum !== undefined) parts.push(`at least ${schema.minimum}`);
  if (schema.enum) parts.push(`one of ${schema.enum.join(', ')}`);
  if (schema.default !== undefined) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts;
}

function typeOf(schema) {
  if (schema.const !== undefined) return `always ${JSON.stringify(schema.const)}`;
  const types = [schema.type ?? []].flat().filter((type) => type !== 'null');
  return schema.format ?? (types.length ? types.join(' or ') : 'any value');
}

/** Type, limits and default of a schema in words. */
export function describe(api, node) {
  const schema = resolve(api, node);
  const nullable = [schema.type].flat().includes('null');
  const parts = [];
  if ([schema.type].flat().includes('array')) {
    const items = resolve(api, schema.items);
    parts.push(`list of ${items.format ?? (items.oneOf ? 'objects' : typeOf(items))}`, ...limits(items));
  } else parts.push(schema.anyOf ? 'object or null' : typeOf(schema));
  if (nullable) parts.push('or null');
  return [...parts, ...limits(schema)].join(', ');
}

/**
 * The fields below a schema, outermost first: `[{path, schema, required}]`. A schema that contains
 * itself is followed once.
 */
export function fields(api, node, path = '', within = []) {
  const schema = resolve(api, node);
  if (!schema || within.includes(schema)) return [];
  const around = [...within, schema];
  const rows = [...(schema.allOf ?? []), ...(schema.anyOf ?? [])].flatMap((part) => fields(api, part, path, around));
  for (const one of schema.oneOf ?? []) {
    const kind = resolve(api, one).properties?.type?.const ?? '';
    rows.push(...fields(api, one, `${path} ${kind}`.trim(), around));
  }
  for (const [name, below] of Object.entries(schema.properties ?? {})) {
    const place = path ? `${path}.${name}` : name;
    rows.push({ path: place, schema: below, required: (schema.required ?? []).includes(name) });
    rows.push(...fields(api, below, place, around));
  }
  if (schema.items) rows.push(...fields(api, schema.items, `${path}[]`, around));
  if (schema.additionalProperties) {
    rows.push(...fields(api, schema.additionalProperties, path ? `${path}.*` : '*', around));
  }
  return rows;
}
