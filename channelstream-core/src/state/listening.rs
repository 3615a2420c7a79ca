//! Sockets and polls open and close on connections, and are caught up (contract §8).

use super::arena::Key;
use super::connection::{Connection, Listener, Phase};
use super::{
    CatchUp, Closing, ConnectionId, Delivery, EndReason, ListenerId, ListenerKind, Refusal, Reply,
    Sent, State, Step,
};
use crate::protocol::Event;

impl State {
    pub(super) fn open(
        &mut self,
        step: &mut Step,
        id: ConnectionId,
        listener: Listener,
        catch_up: CatchUp,
    ) -> Result<Reply, Refusal> {
        let key = *self.connection_ids.get(&id).ok_or(Refusal::UnknownConnection)?;
        let connection = &mut self.connections[key];
        if connection.phase == Phase::Ended {
            return Err(Refusal::UnknownConnection);
        }
        let present = connection.listener;
        if listener.kind == ListenerKind::Poll
            && present.is_some_and(|l| l.kind == ListenerKind::Socket)
        {
            return Ok(Reply::Occupied);
        }
        connection.listener = Some(listener);
        connection.phase = Phase::Alive;
        self.watch_connection(key);
        match present {
            // What the older listener was not sent is in its outbox; the caller moves it over.
            Some(older) => {
                let reason = EndReason::Superseded { by: listener.id };
                step.deliveries.push(Delivery::End { listener: older.id, reason });
                self.tell_untold(step, key, (older, listener));
            }
            None if catch_up == CatchUp::Deliver => {
                self.catch_up(step, key, listener.id);
                self.catch_up_growing(step, key, listener);
            }
            None => {}
        }
        Ok(Reply::Opened)
    }

    /// Delivers what was stored and not sent: channel by channel by name, then private events.
    fn catch_up(&self, step: &mut Step, key: Key<Connection>, listener: ListenerId) {
        let connection = &self.connections[key];
        let user = &self.users[connection.user];
        let mut channels: Vec<_> =
            connection.channels.iter().map(|channel| &self.channels[channel]).collect();
        channels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let stored = channels.iter().map(|channel| &channel.stored).chain([&user.stored]);
        for (sequence, event) in
            stored.flat_map(|stored| stored.unsent(&connection.record, &user.name))
        {
            let event = match event {
                Event::Message(message) => Event::Message(self.current(&message)),
                event => event,
            };
            let to = vec![listener];
            step.deliveries.push(Delivery::Event { to, event, sequence, catchup: true });
        }
    }

    pub(super) fn close(
        &mut self,
        id: ConnectionId,
        listener: ListenerId,
        how: Closing,
        mut sent: Sent,
    ) {
        let Some(&key) = self.connection_ids.get(&id) else { return };
        let now = self.own_time.now();
        let connection = &mut self.connections[key];
        let Some(present) = connection.listener.filter(|present| present.id == listener) else {
            return; // a newer listener superseded it
        };
        sent.but.extend(self.untold(key, present));
        let connection = &mut self.connections[key];
        connection.listener = None;
        connection.record.advance(sent);
        if connection.phase != Phase::Ended {
            connection.since = now;
            if how == Closing::ByPeer {
                connection.phase = Phase::Closed;
            }
        }
        self.watch_connection(key);
    }
}
