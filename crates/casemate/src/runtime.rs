//! The runtime, the signals and the log of commands that serve.

use std::{future::pending, io::IsTerminal as _};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::fault::{Fault, Outcome};

/// Logs go to standard error; `CASEMATE_LOG` sets the level.
pub(crate) fn init_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CASEMATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A second call, as in a process that runs both ends, has no effect.
    _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::from_error(Outcome::Io, error))
}

/// The handlers of Ctrl-C and SIGTERM.
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    /// Installs the handlers. Where one cannot be installed, its signal ends the process at once.
    ///
    /// Must be called inside a runtime.
    pub(crate) fn install() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// Completes on the first signal since the handlers were installed.
    pub(crate) async fn received(self) {
        tokio::select! {
            () = received(self.interrupt) => (),
            () = received(self.terminate) => (),
        }
    }
}

async fn received(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => _ = signal.recv().await,
        None => pending().await,
    }
}

/// Completes on Ctrl-C or SIGTERM.
pub(crate) async fn shutdown() {
    Signals::install().received().await;
}
