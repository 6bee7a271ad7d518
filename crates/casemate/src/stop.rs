//! Cleanup when a signal ends the process.

use std::{fs::File, process, sync::mpsc, thread};

use casemate_seal::scratch;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::runtime::Builder;

use crate::{args::Command, runtime::Signals};

/// The exit code that shells use for a program ended by an interrupt.
const STOPPED: i32 = 130;

/// On a signal, removes a half-written folder, which may contain plaintext, and turns the echo that
/// a prompt switched off back on.
///
/// Servers, `mount` and `run` handle signals themselves.
pub(crate) fn clean_up_on_signal(command: &Command) {
    if matches!(
        command,
        Command::Demo(_)
            | Command::Gateway(_)
            | Command::Connect(_)
            | Command::Mount(_)
            | Command::Run(_)
    ) {
        return;
    }
    let terminal = Terminal::now();
    let (installed, ready) = mpsc::channel::<()>();
    let wait = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_io().build() else {
            return;
        };
        runtime.block_on(async {
            let signals = Signals::install();
            drop(installed);
            signals.received().await;
        });
        scratch::discard();
        if let Some(terminal) = terminal {
            terminal.restore();
        }
        end();
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

    fn restore(self) {
        let Self(file, settings) = self;
        // Another process may own the terminal by now: change it only if its settings differ.
        if tcgetattr(&file).is_ok_and(|now| now.local_modes != settings.local_modes) {
            _ = tcsetattr(&file, OptionalActions::Now, &settings);
        }
    }
}
