//! What is cleared away when the process is told to end.

use std::{fs::File, process, thread};

use casemate_seal::scratch;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::runtime::Builder;

use crate::{args::Command, commands::gateway};

/// As shells have it for a program that an interrupt ended.
const STOPPED: i32 = 130;

/// Takes a half-made folder along, which may be content in the clear, and gives the terminal back as it was, which a prompt had made silent.
///
/// Servers and whoever runs a program end by themselves.
pub(crate) fn clear_away(command: &Command) {
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
    let wait = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_io().build() else {
            return;
        };
        runtime.block_on(gateway::shutdown());
        scratch::discard();
        if let Some(terminal) = terminal {
            terminal.restore();
        }
        end();
    };
    // Without the thread a signal ends the process at once, and the next attempt at the same place clears away.
    drop(thread::Builder::new().spawn(wait));
}

#[expect(
    clippy::exit,
    reason = "other threads are at work, and nobody waits for what they do"
)]
fn end() -> ! {
    process::exit(STOPPED)
}

/// The terminal that this process is on, and how it was.
struct Terminal(File, Termios);

impl Terminal {
    fn now() -> Option<Self> {
        let file = File::open("/dev/tty").ok()?;
        let settings = tcgetattr(&file).ok()?;
        Some(Self(file, settings))
    }

    fn restore(self) {
        let Self(file, settings) = self;
        // Somebody else may have the terminal by now: it is only touched if it is not as it was.
        if tcgetattr(&file).is_ok_and(|now| now.local_modes != settings.local_modes) {
            _ = tcsetattr(&file, OptionalActions::Now, &settings);
        }
    }
}
