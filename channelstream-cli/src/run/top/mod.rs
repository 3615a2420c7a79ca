//! `top`: the activity of a server, on a screen that is redrawn regularly.

mod draw;
mod sample;
mod screen;
mod table;
mod view;

use std::io::{IsTerminal as _, stdin, stdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use channelstream_client::{Client, RetryPolicy};
use ratatui::crossterm::event::Event;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use self::draw::Styles;
use self::screen::Screen;
use self::view::{After, News, View};
use crate::access;
use crate::args::{AccessArgs, TopArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;

/// The pause between two requests is at least this many times the duration of the last answer, so that
/// this command costs a busy server only a small part of its time.
const REST: u32 = 10;
/// How often the age of outdated stats is redrawn.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn watch(access: &AccessArgs, args: &TopArgs) -> Result<(), Failure> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(Failure::usage("top draws on a terminal, and this is none")
            .with_hint("for programs there is `channelstream info --json`"));
    }
    let mut interrupt = Interrupt::new()?;
    let url = access::url(access)?;
    let (signing, origin) = access::signing(access)?;
    let client = signing.apply(access::builder(access, &url)?);
    let client = client.retries(RetryPolicy::never()).build();
    let client = client.map_err(|error| Failure::of_client(error, &origin))?;
    // A mistyped address or secret is an error, rather than an empty screen.
    let first = sample::take(&client).await;
    let first = first.map_err(|error| Failure::of_client(error, &origin))?;
    let rest = args.interval.max(first.moment.took * REST);
    let mut view = View::new(without_password(&url), first);
    let (wanted, wants) = watch::channel(None);
    let (sender, mut news) = mpsc::channel(1);
    let asking = tokio::spawn(ask(client, args.interval, rest, wants, sender));
    let styles = Styles::new(output::is_colored());

    let mut screen = Screen::open()?;
    let outcome = loop {
        screen.draw(|frame| draw::draw(frame, &mut view, styles, Instant::now()))?;
        tokio::select! {
            biased;
            () = interrupt.received() => break Ok(()),
            event = screen.event() => match event {
                Ok(Event::Key(key)) if key.is_press() || key.is_repeat() => {
                    if view.press(key) == After::End {
                        break Ok(());
                    }
                }
                // After a change of size, the loop redraws.
                Ok(_) => {}
                Err(error) => break Err(error.into()),
            },
            Some(news) = news.recv() => view.take(news),
            () = sleep(TICK), if view.trouble.is_some() => {}
        }
        let name = view.details.as_ref().map(|details| Arc::clone(&details.name));
        wanted.send_if_modified(|wanted| {
            let is_other = *wanted != name;
            *wanted = name;
            is_other
        });
    };
    asking.abort();
    outcome
}

/// Returns the URL without user name and password, to be shown on the screen.
fn without_password(url: &str) -> String {
    let Ok(mut shown) = reqwest::Url::parse(url) else { return String::new() };
    // It fails for URLs that cannot have any.
    let _ = shown.set_username("").and_then(|()| shown.set_password(None));
    shown.as_str().trim_end_matches('/').to_owned()
}

/// Polls the server, one request at a time; also about one channel while its details are open.
async fn ask(
    client: Client,
    interval: Duration,
    rest: Duration,
    mut wants: watch::Receiver<Option<Arc<str>>>,
    sender: mpsc::Sender<News>,
) {
    let mut next = tokio::time::Instant::now() + rest;
    loop {
        tokio::select! {
            changed = wants.changed() => if changed.is_err() { return },
            () = sleep_until(next) => {
                let begun = Instant::now();
                let news = match sample::take(&client).await {
                    Ok(sample) => News::Sample(sample),
                    Err(error) => News::Trouble(error.to_string()),
                };
                next = tokio::time::Instant::now() + interval.max(begun.elapsed() * REST);
                if sender.send(news).await.is_err() {
                    return;
                }
            }
        }
        let wanted = wants.borrow_and_update().clone();
        if let Some(name) = wanted {
            let news = match sample::channel(&client, &name).await {
                Ok(channel) => News::Channel(name, channel.map(Box::new)),
                Err(error) => News::Trouble(error.to_string()),
            };
            if sender.send(news).await.is_err() {
                return;
            }
        }
    }
}
