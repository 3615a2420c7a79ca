//! The guests of a storm: users who come, join, leave, listen for a moment and go, whatever breaks meanwhile.

use std::rc::Rc;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::round::Round;
use crate::wire::Socket;

/// Comes and goes as the user `x0`, `x1` and so on, until the round stops.
pub(crate) async fn come_and_go(round: Rc<Round>, mut dice: Dice, user: usize) {
    while !round.stopped() {
        let Some(id) = connect(&round, &mut dice, user).await else { return };
        for _ in 0..dice.below(6) {
            let path = *dice.of(&["/subscribe", "/unsubscribe", "listen"]);
            if path == "listen" {
                // The server may be gone.
                if let Ok(mut socket) = Socket::open(round.site.any(), &id, false).await {
                    let until = Instant::now() + dice.pause(300);
                    while socket.next(until).await.is_some_and(|came| came.is_text()) {}
                    socket.cut();
                }
            } else {
                let body = json!({"conn_id": id, "channels": channels(&round, &mut dice)});
                // Who listened to nothing for too long is forgotten.
                ask(&round, path, &body, &[200, 422]).await;
            }
            sleep(dice.pause(300)).await;
        }
        round.record.count("guests: disconnect");
        ask(&round, "/disconnect", &json!({"conn_id": id}), &[200]).await;
        sleep(dice.pause(500)).await;
    }
}

async fn connect(round: &Round, dice: &mut Dice, user: usize) -> Option<String> {
    round.record.count("guests: connect");
    let body = json!({"username": format!("x{user}"), "channels": channels(round, dice)});
    let told = ask(round, "/connect", &body, &[200]).await?;
    Some(told["conn_id"].as_str()?.to_owned())
}

fn channels(round: &Round, dice: &mut Dice) -> Vec<String> {
    (0..=dice.below(3)).map(|_| format!("c{}", dice.below(round.plan.channels))).collect()
}

/// Asks until it is known what became of it, which has to be one of these.
async fn ask(round: &Round, path: &str, body: &Value, wanted: &[u16]) -> Option<Value> {
    match round.site.insist("POST", path, &body.to_string()).await {
        Ok((status, told)) if wanted.contains(&status) => serde_json::from_slice(&told).ok(),
        other => {
            let other = other.map(|(status, told)| (status, told.escape_ascii().to_string()));
            round.record.fault(format!("{path} {body} was answered {other:?}"));
            None
        }
    }
}
