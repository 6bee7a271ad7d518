//! The memory of this process: no core dumps, and secrets that are not swapped.

use std::process::Child;

use casemate_memory::{Locking, lock_secrets, locking};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, getrlimit, prlimit, set_dumpable_behavior, setrlimit,
};

use crate::printer::Printer;

/// What the process was allowed before, for the programs it starts.
#[derive(Clone, Debug)]
pub(crate) struct Before(Rlimit);

/// Keeps keys and content in the clear out of core dumps and swap. Says what the system did not allow.
pub(crate) fn protect(printer: &Printer) -> Before {
    let before = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        maximum: before.maximum,
    };
    // The limit keeps the kernel from writing a file, the other setting from handing memory to a program that collects dumps.
    let limited = setrlimit(Resource::Core, none).is_ok();
    let undumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
    if !limited && !undumpable {
        printer
            .warning("core dumps could not be switched off: one of this process would hold keys");
    }
    lock_secrets();
    if locking() == Locking::Refused && has_swap() {
        printer.warning(
            "the system's limit does not let keys be locked in memory, so they may be swapped to disk: raise `ulimit -l`, or encrypt swap",
        );
    }
    Before(before)
}

impl Before {
    /// Gives a program that was started the limit that this process had. What it keeps in its memory is its own business.
    pub(crate) fn restore(&self, child: &Child) {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // It may have ended already.
        _ = pid.map(|pid| prlimit(Some(pid), Resource::Core, self.0));
    }
}

fn has_swap() -> bool {
    // The first line is a heading.
    std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().nth(1).is_some())
}
