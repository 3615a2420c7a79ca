//! The terminal as a screen, which is restored whatever happens.

use std::io;
use std::thread;

use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

/// The whole terminal. It is restored when this is dropped, and before the text of a panic.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    events: mpsc::Receiver<io::Result<Event>>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        let (sender, events) = mpsc::channel(16);
        // Reading blocks and cannot be interrupted: the thread ends with the program.
        thread::spawn(move || {
            loop {
                let event = event::read();
                let failed = event.is_err();
                if sender.blocking_send(event).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Self { terminal, events })
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// Waits for the next key or change of size. Cancel-safe.
    pub(super) async fn event(&mut self) -> io::Result<Event> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal is gone");
        self.events.recv().await.unwrap_or_else(|| Err(ended()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If it fails, the terminal is gone, or shows the error.
        let _ = self.terminal.show_cursor();
        // After a panic it is restored already, and doing so again would hide the text of the panic.
        if !thread::panicking() {
            ratatui::restore();
        }
    }
}
