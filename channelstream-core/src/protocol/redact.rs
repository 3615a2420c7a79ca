//! `Debug` output without the ids of connections.

use std::fmt::{self, Debug, Formatter};

use uuid::Uuid;

/// Shows the first digits of a connection's id. The whole id is a secret: a client that knows it may
/// listen on the connection.
pub(crate) struct FirstDigits(pub(crate) Uuid);

impl Debug for FirstDigits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}…", self.0.as_fields().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        AdminUser, Bounds, Connect, Connected, Disconnect, Named, Subscribe, Unsubscribe, parse,
    };

    #[test]
    fn debug_output_does_not_contain_the_id() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let connect = Connect { conn_id: Some(id), ..Connect::new("ann").channels(["news"]) };
        let connected = Connected {
            conn_id: id,
            username: "ann".into(),
            state: Default::default(),
            public_state: Default::default(),
            channels: Vec::new(),
            channels_info: Default::default(),
            cursor: None,
        };
        let user = AdminUser {
            user: "ann".into(),
            uuid: Uuid::nil(),
            state: Default::default(),
            connections: vec![id],
        };
        let json = serde_json::to_vec(&connect).unwrap();
        let query = id.to_string();
        let body = parse(&json, Bounds::default()).unwrap().conn_id(Some(&query));
        let shown: [(&dyn Debug, bool); 8] = [
            (&connect, true),
            (&Subscribe::new(id, ["news"]), true),
            (&Unsubscribe::new(id, ["news"]), true),
            (&Disconnect { conn_id: id }, true),
            (&connected, true),
            (&user, true),
            (&Named::Connection(id), true),
            (&body, false),
        ];
        for (shown, has_digits) in shown {
            let text = format!("{shown:?} {shown:#?}");
            assert!(!text.contains("89ab") && !text.contains("cdef"), "{text}");
            assert_eq!(text.contains("01234567…"), has_digits, "{text}");
        }
        let text = format!("{connect:?}");
        assert!(
            text.starts_with("Connect { username: \"ann\", conn_id: Some(01234567…), "),
            "{text}"
        );
    }
}
