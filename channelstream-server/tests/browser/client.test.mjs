// What the browser client does with a server that stays: every method, over both transports.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { sign } from './stage/server.mjs';
import { setStage } from './stage/stage.mjs';
import { until } from './stage/until.mjs';

const stage = await setStage();
const { server, application } = stage;

for (const transport of ['websocket', 'poll']) {
    describe(`over ${transport}`, { timeout: 120_000 }, () => {
        /** Two people in a channel of their own, both listening. */
        async function twoPeople() {
            const room = stage.room();
            const ann = await stage.visitor(`ann-${room}`, { transport, channels: [room] });
            const ben = await stage.visitor(`ben-${room}`, { transport, channels: [room] });
            await ann.connect();
            await ben.connect();
            return { ann, ben, room };
        }

        const say = (visitor, channel, text, more = {}) =>
            visitor.call('message', { user: visitor.username, channel, message: { text }, ...more });

        test('connects and listens', async () => {
            const room = stage.room();
            const ann = await stage.visitor('ann', { transport, channels: [room] });
            const answer = await ann.connect();
            assert.equal(answer.username, 'ann');
            assert.deepEqual(answer.channels, [room]);
            assert.deepEqual(answer.state, { color: 'grey', email: 'ann@example.org' });
            assert.deepEqual(answer.channels_info.channels[room].users, ['ann']);
            assert.deepEqual(await ann.hears('channelsChanged'), [room]);
            assert.equal(await ann.property('connectionId'), answer.conn_id);
            assert.equal(await ann.property('connected'), true);
        });

        test('a message reaches everybody once', async () => {
            const { ann, ben, room } = await twoPeople();
            await say(ann, room, 'hello');
            const { status, data } = await ann.hears('message');
            assert.equal(status, 200);
            for (const visitor of [ann, ben]) {
                const { timestamp, catchup, ...event } = await visitor.seesText('hello');
                // Between two polls nobody listens, and what comes then is caught up on.
                assert.ok(catchup === false || transport === 'poll');
                assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$/);
                assert.deepEqual(event, {
                    uuid: data[0].uuid,
                    type: 'message',
                    user: ann.username,
                    channel: room,
                    message: { text: 'hello' },
                    edited: null,
                });
            }
            await say(ben, room, 'well');
            await ann.seesText('well');
            await ben.seesText('well');
            assert.deepEqual(ann.texts, ['hello', 'well']);
            assert.deepEqual(ben.texts, ['hello', 'well']);
        });

        test('many messages keep their order, and none comes twice', async () => {
            const { ann, ben, room } = await twoPeople();
            // Fewer than a channel keeps for those who are between two polls: 100 frames.
            const texts = Array.from({ length: 80 }, (_, number) => `number ${number}`);
            for (let start = 0; start < texts.length; start += 10) {
                const messages = texts.slice(start, start + 10);
                const message = (text) => ({ user: 'backend', channel: room, message: { text } });
                await server.call('POST', '/message', messages.map(message));
            }
            for (const visitor of [ann, ben]) {
                await visitor.seesText(texts.at(-1));
                assert.deepEqual(visitor.texts, texts);
            }
        });

        test('any text arrives as it was sent', async () => {
            const { ann, ben, room } = await twoPeople();
            const text = `ünïcödé 😀 \u2028 </script> "quoted" \\ ${'long '.repeat(20_000)}`;
            await say(ann, room, text);
            await ben.seesText(text);
        });

        test('edits and deletes', async () => {
            const { ann, ben, room } = await twoPeople();
            await say(ann, room, 'first');
            const { uuid } = await ben.seesText('first');
            await ann.call('edit', { uuid, channel: room, message: { text: 'second' } });
            assert.equal((await ann.hears('messageEdit')).status, 200);
            const edit = await ben.sees('message:edit');
            assert.equal(edit.uuid, uuid);
            assert.equal(edit.channel, room);
            assert.deepEqual(edit.message, { text: 'second' });
            assert.ok(edit.edited);

            const guest = await stage.visitor(`guest-${room}`, { transport, channels: [room] });
            const { history } = (await guest.connect()).channels_info.channels[room];
            assert.deepEqual(history.map(({ message }) => message.text), ['second']);

            await ann.call('delete', { uuid, channel: room });
            assert.equal((await ann.hears('messageDelete')).status, 200);
            assert.deepEqual(await ben.sees('message:delete'), { uuid, type: 'message:delete', channel: room });
        });

        test('private messages reach those named and nobody else', async () => {
            const { ann, ben, room } = await twoPeople();
            const eve = await stage.visitor(`eve-${room}`, { transport, channels: [room] });
            await eve.connect();
            await say(ann, null, 'a secret', { pm_users: [ben.username] });
            await say(ann, room, 'an aside', { pm_users: [ben.username] });
            await say(ann, room, 'not for eve', { exclude_users: [eve.username] });
            // The requests of a page may overtake one another: the last word comes after them.
            await ann.hears('message', { where: ({ data }) => data[0].exclude_users.length > 0 });
            for (const text of ['a secret', 'an aside', 'not for eve']) await ben.seesText(text);
            assert.equal((await ben.seesText('a secret')).channel, null);
            await say(ann, room, 'for all');
            for (const visitor of [ann, ben, eve]) await visitor.seesText('for all');
            assert.deepEqual(eve.texts, ['for all']);
            assert.deepEqual(ann.texts, ['not for eve', 'for all']);
        });

        test('subscribes to more channels and leaves them', async () => {
            const { ann, ben, room } = await twoPeople();
            const hall = stage.room();
            await ben.call('subscribe', [hall]);
            const { status, data } = await ben.hears('subscribe');
            assert.equal(status, 200);
            assert.deepEqual(data.subscribed_to, [hall]);
            assert.deepEqual(data.channels, [room, hall].sort());
            assert.deepEqual(await ben.property('channels'), [room, hall].sort());
            await say(ann, hall, 'in the hall');
            await ben.seesText('in the hall');

            await ben.call('unsubscribe', [hall]);
            assert.deepEqual((await ben.hears('unsubscribe')).data.unsubscribed_from, [hall]);
            assert.deepEqual(await ben.property('channels'), [room]);
            await server.publish({ user: 'backend', channel: hall, message: { text: 'unheard' } });
            await server.publish({ user: 'backend', channel: room, message: { text: 'the end' } });
            await ben.seesText('the end');
            assert.deepEqual(ben.texts, ['in the hall', 'the end']);
        });

        test('user state: others see its public part', async () => {
            const { ann, ben, room } = await twoPeople();
            await ann.call('updateUserState', { color: 'red', email: 'new@example.org' });
            const { status, data } = await ann.hears('setUserState');
            assert.equal(status, 200);
            assert.deepEqual(data.user_state, { color: 'red', email: 'new@example.org' });
            for (const visitor of [ann, ben]) {
                const event = await visitor.sees('user_state_change');
                assert.equal(event.user, ann.username);
                assert.equal(event.channel, room);
                assert.deepEqual(event.message, {
                    state: { color: 'red' },
                    changed: [{ key: 'color', value: 'red' }],
                });
            }
        });

        test('presence: others see who comes and who goes', async () => {
            const { ann, ben, room } = await twoPeople();
            const joined = await ann.sees('presence', ({ user }) => user === ben.username);
            assert.equal(joined.channel, room);
            assert.deepEqual(joined.message, { action: 'joined' });
            assert.deepEqual(joined.state, { color: 'grey' });
            assert.deepEqual(joined.users.map(({ user }) => user).sort(), [ann.username, ben.username].sort());

            await ben.call('disconnect');
            const parted = await ann.sees('presence', ({ message }) => message.action === 'parted');
            assert.equal(parted.user, ben.username);
            assert.equal(parted.state, null);
            assert.deepEqual(parted.users, [{ user: ann.username, state: { color: 'grey' } }]);
            assert.ok(!ben.events.some(({ type, user }) => type === 'presence' && user === ben.username));
        });

        test('disconnects for good, and may connect again', async () => {
            const { ann, ben, room } = await twoPeople();
            const first = await ben.property('connectionId');
            await ben.call('disconnect');
            await ben.hears('connectionClosed');
            assert.deepEqual(await ben.hears('disconnect'), { status: 200, data: true });
            assert.equal(await ben.property('connected'), false);
            await until(async () => {
                const body = { conn_id: first, channels: [room] };
                const answer = await server.request('POST', '/subscribe', body, sign('/subscribe'));
                return answer.status === 422;
            }, 'the server forgets the connection');

            const second = await ben.connect();
            assert.notEqual(second.conn_id, first);
            await say(ann, room, 'welcome back');
            await ben.seesText('welcome back');
            assert.deepEqual(ben.texts, ['welcome back']);
        });

        test('what is sent between connecting and listening is caught up', async () => {
            const room = stage.room();
            const ann = await stage.visitor(`ann-${room}`, { transport, channels: [room] });
            application.beforeConnected = async () => {
                await server.publish({ user: 'backend', channel: room, message: { text: 'early' } });
            };
            await ann.connect();
            assert.equal((await ann.seesText('early')).catchup, true);
            await server.publish({ user: 'backend', channel: room, message: { text: 'late' } });
            assert.equal((await ann.seesText('late')).catchup, false);
            assert.deepEqual(ann.texts, ['early', 'late']);
        });

        test('a new page finds the history', async () => {
            const room = stage.room();
            const message = (text) => ({ user: 'backend', channel: room, message: { text } });
            const ann = await stage.visitor(`ann-${room}`, { transport, channels: [room] });
            await ann.connect();
            await server.call('POST', '/message', ['one', 'two', 'three'].map(message));
            const ben = await stage.visitor(`ben-${room}`, { transport, channels: [room] });
            const { history } = (await ben.connect()).channels_info.channels[room];
            assert.deepEqual(history.map(({ message }) => message.text), ['one', 'two', 'three']);
        });

        test('mutators change what is asked', async () => {
            const room = stage.room();
            const ann = await stage.visitor(`ann-${room}`, { transport, channels: [room] });
            await ann.page.evaluate(() => {
                window.connection.addMutator('connect', (request) => {
                    request.body.user_state = { color: 'blue' };
                });
            });
            assert.equal((await ann.connect()).state.color, 'blue');
        });
    });
}
