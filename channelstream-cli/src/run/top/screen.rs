//! The terminal as a screen, and given back as it was, whatever happens.

use std::io;
use std::thread;

use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

/// The whole terminal. It is given back when this is dropped; before the text of a panic, too.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    events: mpsc::Receiver<io::Result<Event>>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        let (tell, events) = mpsc::channel(16);
        // Reading waits, and cannot be told to stop: the thread ends with the program.
        thread::spawn(move || {
            loop {
                let event = event::read();
                let failed = event.is_err();
                if tell.blocking_send(event).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Self { terminal, events })
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// The next key or change of the size; giving up waiting loses none.
    pub(super) async fn event(&mut self) -> io::Result<Event> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal has gone");
        self.events.recv().await.unwrap_or_else(|| Err(ended()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If it fails, the terminal has gone, or shows what went wrong.
        let _ = self.terminal.show_cursor();
        // After a panic it has been given back, and doing so again would hide the text of it.
        if !thread::panicking() {
            ratatui::restore();
        }
    }
}
