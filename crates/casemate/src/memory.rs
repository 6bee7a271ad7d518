//! Keeps this process's memory out of core dumps and its secrets out of swap.

use std::process::Child;

use casemate_memory::{Locking, lock_secrets, locking};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, getrlimit, prlimit, set_dumpable_behavior, setrlimit,
};

use crate::printer::Printer;

/// The core dump limit before [`protect`], to restore for programs that this process starts.
#[derive(Clone, Debug)]
pub(crate) struct CoreDumpLimit(Rlimit);

/// Keeps keys and plaintext out of core dumps and swap. Warns about what the system does not allow.
pub(crate) fn protect(printer: &Printer) -> CoreDumpLimit {
    let before = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        maximum: before.maximum,
    };
    // The limit stops the kernel from writing a core file; the other setting stops it from piping
    // memory to a crash handler.
    let limited = setrlimit(Resource::Core, none).is_ok();
    let undumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
    if !limited && !undumpable {
        printer
            .warning("cannot disable core dumps: a core dump of this process would contain keys");
    }
    lock_secrets();
    if locking() == Locking::Refused && has_swap() {
        printer.warning(
            "cannot lock keys in memory, so they may be swapped to disk: raise `ulimit -l`, or encrypt swap",
        );
    }
    CoreDumpLimit(before)
}

impl CoreDumpLimit {
    /// Restores the core dump limit for a started program, which is responsible for its own memory.
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
