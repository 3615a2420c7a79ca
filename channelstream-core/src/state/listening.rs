//! Sockets and polls open and close on connections, and are caught up (contract §8).

use super::arena::Key;
use super::connection::{Connection, Listener, Phase};
use super::{
    CatchUp, Closing, ConnectionId, Delivery, EndReason, ListenerId, ListenerKind, NodeId, Refusal,
    Reply, Sent, State, Step,
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
        if self.connections[key].phase == Phase::Ended {
            return Err(Refusal::UnknownConnection);
        }
        self.end_listener_of_ended_node(step, key);
        let present = self.connections[key].listener;
        if listener.kind == ListenerKind::Poll
            && present.is_some_and(|l| l.kind == ListenerKind::Socket)
        {
            return Ok(Reply::Occupied);
        }
        match present {
            Some(older) if catch_up != CatchUp::Read => {
                // An older one that waits itself was sent nothing.
                if older.node != listener.node && !self.taking_over.has(key) {
                    self.wait_for(key, older);
                }
            }
            // One that waited has ended, and what it waited for has not come yet.
            None if catch_up != CatchUp::Read => {}
            _ => self.waits_no_more(key),
        }
        self.taking_over.reads(key, catch_up == CatchUp::ReadRecord);
        if let Some(older) = present.filter(|older| older.node == listener.node) {
            self.takes_over_what_was_told(key, older);
        }
        self.set_listener(key, Some(listener));
        self.connections[key].phase = Phase::Alive;
        self.watch_connection(key);
        self.node_has_to_send(listener);
        if self.taking_over.has(key) && listener.node == self.node {
            let (listener, is_done) = (listener.id, false);
            step.deliveries.push(Delivery::TakesOver { listener, is_done });
        }
        match present {
            Some(older) => {
                // What an older listener of the same node was not sent is in its outbox; the caller
                // moves it over.
                let reason = if listener.node == older.node {
                    EndReason::Superseded { by: listener.id }
                } else {
                    EndReason::SupersededElsewhere
                };
                self.end_listener(step, older, reason);
                if listener.node == older.node {
                    self.tell_untold(step, key, (older, listener));
                }
            }
            None if catch_up == CatchUp::Deliver => self.bring_missed(step, key),
            None => {}
        }
        Ok(Reply::Opened)
    }

    /// Notes what an older listener of the same node was sent as far as the node told, because of the newer
    /// one it will tell only later. The newer one reports it again in its end.
    fn takes_over_what_was_told(&mut self, key: Key<Connection>, older: Listener) {
        let sent = self.told_last(older);
        // While it waited, it was sent nothing.
        if sent.up_to > 0 && !self.taking_over.has(key) {
            let sent = self.with_untold(key, older, sent);
            self.connections[key].record.advance(sent);
        }
    }

    /// Ends a listener, if it is one of this node.
    pub(super) fn end_listener(&self, step: &mut Step, listener: Listener, reason: EndReason) {
        if listener.node == self.node {
            step.deliveries.push(Delivery::End { listener: listener.id, reason });
        }
    }

    /// Delivers what the connection was not sent, if its listener is one of this node.
    pub(super) fn bring_missed(&self, step: &mut Step, key: Key<Connection>) {
        if let Some(listener) = self.live_here(key) {
            self.catch_up(step, key, listener.id);
            self.catch_up_growing(step, key, listener);
        }
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
        step: &mut Step,
        id: ConnectionId,
        (node, listener): (NodeId, ListenerId),
        how: Closing,
        sent: Sent,
    ) {
        let Some(&key) = self.connection_ids.get(&id) else { return };
        let is_it = |one: &Listener| one.node == node && one.id == listener;
        if self.connections[key].listener.as_ref().is_some_and(is_it) {
            self.listener_has_ended(key, how, sent);
        } else if self.waits_for(key).as_ref().is_some_and(is_it) {
            self.older_was_sent(step, key, sent);
        }
        // Else a newer listener superseded it.
    }

    /// Ends the listener of a connection, which was sent this.
    pub(super) fn listener_has_ended(&mut self, key: Key<Connection>, how: Closing, sent: Sent) {
        let Some(present) = self.connections[key].listener else { return };
        let sent = self.with_untold(key, present, sent);
        self.set_listener(key, None);
        // While it waited, it was sent nothing. What the older one was sent is still to come.
        let waited = self.taking_over.has(key);
        let now = self.own_time.now();
        let connection = &mut self.connections[key];
        if !waited {
            connection.record.advance(sent);
        }
        if connection.phase != Phase::Ended {
            connection.since = now;
            if how == Closing::ByPeer {
                connection.phase = Phase::Closed;
            }
        }
        self.watch_connection(key);
    }

    pub(super) fn with_untold(
        &self,
        key: Key<Connection>,
        listener: Listener,
        mut sent: Sent,
    ) -> Sent {
        sent.but.extend(self.untold(key, listener, sent.up_to));
        sent
    }
}
