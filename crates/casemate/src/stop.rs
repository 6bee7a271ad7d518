//! What happens when a signal ends the process.
//!
//! One thread waits for signals from the start. It cleans up and ends the process, unless a command
//! that serves has taken over.

use std::{
    fs::File,
    io, process,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use casemate_seal::scratch;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

/// The exit code that shells use for a program ended by an interrupt.
const STOPPED: i32 = 130;

/// Whom to tell about a signal, if a command has taken over.
static TAKEN_OVER: Mutex<Option<Arc<Notify>>> = Mutex::new(None);

/// A command's own wait for Ctrl-C or SIGTERM.
pub(crate) struct Stop(Arc<Notify>);

impl Stop {
    /// From here on a signal no longer ends the process: the command must end, and clean up,
    /// itself. Called before anything exists that it would have to clean up.
    pub(crate) fn take_over() -> Self {
        let notify = Arc::new(Notify::new());
        let mut taken_over = TAKEN_OVER.lock().unwrap_or_else(PoisonError::into_inner);
        *taken_over = Some(Arc::clone(&notify));
        Self(notify)
    }

    /// Completes on the first signal since the command took over.
    pub(crate) async fn requested(&self) {
        self.0.notified().await;
    }
}

/// On a signal, removes a half-written folder, which may contain plaintext, and turns the echo that
/// a prompt switched off back on.
pub(crate) fn clean_up_on_signal() {
    let terminal = Terminal::now();
    let (installed, ready) = mpsc::channel::<()>();
    let wait = move || -> io::Result<()> {
        let Ok(runtime) = Builder::new_current_thread().enable_io().build() else {
            return Ok(());
        };
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            drop(installed);
            loop {
                tokio::select! {
                    _ = interrupt.recv() => (),
                    _ = terminate.recv() => (),
                }
                // Held until the end, so that no command takes over meanwhile.
                let taken_over = TAKEN_OVER.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(command) = &*taken_over {
                    command.notify_one();
                } else {
                    scratch::discard();
                    terminal.as_ref().map(Terminal::restore);
                    end();
                }
            }
        })
    };
    // If the thread cannot start, a signal ends the process at once, and the next run at the same
    // place cleans up.
    drop(thread::Builder::new().spawn(wait));
    // Before this, a signal would leave behind what the command has begun. Nothing is sent: the
    // other end closes once the handlers are installed, or if they cannot be.
    _ = ready.recv();
}

#[expect(
    clippy::exit,
    reason = "other threads are still running, and their results are not needed"
)]
fn end() -> ! {
    process::exit(STOPPED)
}

/// The controlling terminal and its settings at the start.
struct Terminal(File, Termios);

impl Terminal {
    fn now() -> Option<Self> {
        let file = File::open("/dev/tty").ok()?;
        let settings = tcgetattr(&file).ok()?;
        Some(Self(file, settings))
    }

    fn restore(&self) {
        let Self(file, settings) = self;
        // Another process may own the terminal by now: change it only if its settings differ.
        if tcgetattr(file).is_ok_and(|now| now.local_modes != settings.local_modes) {
            _ = tcsetattr(file, OptionalActions::Now, settings);
        }
    }
}
