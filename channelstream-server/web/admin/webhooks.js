// The receiver of webhooks, and the last attempts to send them.

import { at, count, make, plural, reconcile, say, timeOf } from './element.js';

export function subscription() {
  return { webhooks: true };
}

export function show({ webhooks }) {
  if (!webhooks) return;
  const { attempts } = webhooks;
  say(at('webhooks-line'), line(webhooks));
  at('webhooks-table').hidden = attempts.length === 0;
  // A webhook has an attempt of the same number once, unless the server was restarted or its settings reloaded.
  reconcile(at('webhooks-rows'), attempts, ({ id, number, time }) => `${id} ${number} ${time}`, makeRow);
}

function line({ url, gone, failing, waiting }) {
  if (!url) return 'There are no webhooks: webhook_url is not set.';
  if (gone) return `${url} answered that it is gone. Nothing is sent until the settings are reloaded.`;
  const waits = waiting === 1 ? '1 webhook waits' : `${plural(waiting, 'webhook', 'webhooks')} wait`;
  return `${url} ${failing ? 'does not take the webhooks now' : 'takes the webhooks'}. ${waits}.`;
}

function makeRow({ time, event, subject, number, milliseconds, status, why }) {
  const taken = status >= 200 && status < 300;
  const name = make('th', '', event);
  name.scope = 'row';
  return make('tr', '', name,
    make('td', '', make('code', '', subject)),
    make('td', '', timeOf(time)),
    make('td', taken ? '' : 'bad', status === null ? why : String(status)),
    make('td', '', `${count(milliseconds)} ms`),
    make('td', '', count(number)));
}
