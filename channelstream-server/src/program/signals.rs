//! The signals that the program receives: those that end it, and those that it ignores.

use std::process::ExitCode;
use std::{fmt, io};

/// A signal that ends the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    name: &'static str,
    number: u8,
}

impl End {
    /// Returns the exit status of a process that the signal ended, as shells report it.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(128 + self.number)
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    /// The end of the program.
    End(End),
    /// That the settings are read again.
    Reload,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(unix)]
pub(crate) use unix::Signals;
#[cfg(windows)]
pub(crate) use windows::Signals;

#[cfg(unix)]
mod unix {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::{Asked, End, io};

    /// The number of the signal on all systems on which the server runs.
    const SIGXFSZ: i32 = 25;

    /// The signals, received as long as the process lives.
    pub(crate) struct Signals {
        terminate: Signal,
        interrupt: Signal,
        quit: Signal,
        hangup: Signal,
        user1: Signal,
        user2: Signal,
        /// A file would be larger than the limit of the process: the write fails, and says so.
        _file_size: Signal,
    }

    impl Signals {
        /// Starts to receive the signals, which lose their default effect.
        pub(crate) fn receive() -> io::Result<Self> {
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                quit: signal(SignalKind::quit())?,
                hangup: signal(SignalKind::hangup())?,
                user1: signal(SignalKind::user_defined1())?,
                user2: signal(SignalKind::user_defined2())?,
                _file_size: signal(SignalKind::from_raw(SIGXFSZ))?,
            })
        }

        /// Waits for the next signal that asks for something, and ignores the others.
        pub(crate) async fn next(&mut self) -> Asked {
            loop {
                let (name, number) = tokio::select! {
                    _ = self.terminate.recv() => ("SIGTERM", 15),
                    _ = self.interrupt.recv() => ("SIGINT", 2),
                    _ = self.quit.recv() => ("SIGQUIT", 3),
                    _ = self.hangup.recv() => return Asked::Reload,
                    _ = self.user1.recv() => {
                        tracing::info!("SIGUSR1 ignored");
                        continue;
                    }
                    _ = self.user2.recv() => {
                        tracing::info!("SIGUSR2 ignored");
                        continue;
                    }
                };
                return Asked::End(End { name, number });
            }
        }
    }
}

#[cfg(windows)]
mod windows {
    use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};

    use super::{Asked, End, io};

    /// The signals, received as long as the process lives.
    pub(crate) struct Signals {
        interrupt: CtrlC,
        stop: CtrlBreak,
    }

    impl Signals {
        /// Starts to receive the signals, which lose their default effect.
        pub(crate) fn receive() -> io::Result<Self> {
            Ok(Self { interrupt: ctrl_c()?, stop: ctrl_break()? })
        }

        /// Waits for the next signal that ends the program.
        pub(crate) async fn next(&mut self) -> Asked {
            Asked::End(tokio::select! {
                _ = self.interrupt.recv() => End { name: "Ctrl-C", number: 2 },
                _ = self.stop.recv() => End { name: "Ctrl-Break", number: 2 },
            })
        }
    }
}
