//! Data on standard output, everything else on standard error.

use std::{
    borrow::Cow,
    fmt,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd as _,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use crate::fault::{Fault, Outcome};

/// Longest message on standard error, in characters: logs keep these, and names in them may come from strangers.
const MESSAGE_CHARS_MAX: usize = 4096;

/// Where a command's words go.
#[derive(Debug)]
pub(crate) struct Printer {
    json: bool,
    colour: bool,
    /// The first error of standard output.
    failed: Mutex<Option<io::Error>>,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let failed = Mutex::default();
        Self {
            json,
            colour,
            failed,
        }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Data: JSON if asked for, else the text.
    pub(crate) fn data(&self, json: &Value, text: &str) {
        if self.json {
            self.line(&format!("{json:#}"));
        } else {
            self.line(text);
        }
    }

    /// A line of data.
    pub(crate) fn line(&self, text: &str) {
        self.note_failure(writeln!(io::stdout().lock(), "{}", plain(text)));
    }

    fn note_failure(&self, written: io::Result<()>) {
        if let Err(error) = written {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert(error);
        }
    }

    /// Writes what is left. A reader that went away is no error of ours; a full disk is.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        self.note_failure(io::stdout().lock().flush());
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match failed.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let message = "cannot write to standard output".to_owned();
                Err(Fault::caused(Outcome::Io, message, error))
            }
            _ => Ok(()),
        }
    }

    /// Why content could not be written: nothing is wrong if standard output is a pipe that nobody reads any more, such as one to `head`.
    #[expect(clippy::unused_self, reason = "all output goes through a printer")]
    pub(crate) fn content_failed(&self, fault: Fault) -> Fault {
        let out = io::stdout();
        let mut polled = [PollFd::new(&out, PollFlags::empty())];
        let asked = poll(&mut polled, Some(&Timespec::default()));
        let is_unread = |out: &PollFd<'_>| out.revents().contains(PollFlags::ERR);
        if asked.is_ok() && polled.iter().any(is_unread) {
            return Fault::new(Outcome::Unread, "nobody reads standard output");
        }
        fault
    }

    /// Standard output for content, without a buffer that would keep a copy of it.
    #[expect(clippy::unused_self, reason = "all output goes through a printer")]
    pub(crate) fn content(&self) -> io::Result<File> {
        let mut out = io::stdout().lock();
        out.flush()?;
        Ok(File::from(out.as_fd().try_clone_to_owned()?))
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, text: &str) {
        self.say("note", "36", text);
    }

    /// What a command did.
    #[expect(clippy::unused_self, reason = "all output goes through a printer")]
    pub(crate) fn done(&self, text: &str) {
        _ = writeln!(io::stderr().lock(), "{}", indented(text));
    }

    pub(crate) fn warning(&self, text: &str) {
        self.say("warning", "33", text);
    }

    pub(crate) fn fault(&self, fault: &Fault) {
        self.say("error", "31", &fault.to_string());
        for cause in fault.causes() {
            self.say("caused by", "31", &cause);
        }
        if let Some(hint) = fault.hint_text() {
            self.say("hint", "36", hint);
        }
    }

    /// What the argument parser says: it repeats arguments, which may come from strangers as well.
    pub(crate) fn parser(&self, error: &clap::Error) {
        if error.use_stderr() {
            let text = error.render().to_string();
            let short: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
            _ = write!(io::stderr().lock(), "{}", plain(&short));
        } else {
            // Help and version, which are ours.
            self.note_failure(error.print());
        }
    }

    fn say(&self, word: &str, colour: &str, text: &str) {
        let text = indented(text);
        let mut err = io::stderr().lock();
        // Nothing can be done if standard error is gone.
        _ = if self.colour {
            writeln!(err, "\x1b[1;{colour}m{word}:\x1b[0m {text}")
        } else {
            writeln!(err, "{word}: {text}")
        };
    }
}

/// Without what would move a terminal's cursor, hide text or turn it around: names in it may come from strangers.
fn plain(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| match c {
        '\n' | '\t' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        other => !other.is_control(),
    };
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    Cow::Owned(out)
}

/// As [`plain`] and of bounded length, and whatever begins a line after the first one is no line of ours.
fn indented(text: &str) -> String {
    let mut short: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    plain(&short).replace('\n', "\n    ")
}

/// A path as text for JSON, which has no other bytes.
pub(crate) fn path_text(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

/// A number of things, such as "1 file" and "2 files".
pub(crate) fn count_text<N: Copy + From<u8> + PartialEq + fmt::Display>(
    count: N,
    thing: &str,
) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// A length for people, with the exact number of bytes.
pub(crate) fn bytes_text(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = bytes as f64;
    match bytes {
        0..1_000_000 => format!("{bytes} B"),
        1_000_000..1_000_000_000 => format!("{:.2} MB ({bytes} B)", value / 1e6),
        _ => format!("{:.2} GB ({bytes} B)", value / 1e9),
    }
}

/// A time for people, in UTC; whoever sealed could claim any number.
pub(crate) fn time_text(seconds: u64) -> String {
    /// 31 December 9999, the last day that the format has.
    const LAST: u64 = 253_402_300_799;
    if seconds > LAST {
        return format!("{seconds} seconds after 1970");
    }
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.map(httpdate::fmt_http_date).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_as_far_as_there_are_any() {
        assert_eq!(time_text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(time_text(253_402_300_799), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(
            time_text(u64::MAX),
            "18446744073709551615 seconds after 1970"
        );
    }

    #[test]
    fn what_a_stranger_wrote_begins_no_line() {
        let forged = "m\nrewrapped 12 objects\nerror: x";
        assert_eq!(
            indented(forged),
            "m\n    rewrapped 12 objects\n    error: x"
        );
    }

    #[test]
    fn a_message_of_any_length_is_cut() {
        let long = "x".repeat(1 << 20);
        assert_eq!(indented(&long).chars().count(), MESSAGE_CHARS_MAX + 1);
        let fits = "x".repeat(MESSAGE_CHARS_MAX);
        assert_eq!(indented(&fits), fits);
    }

    #[test]
    fn what_would_drive_a_terminal_is_shown_and_not_done() {
        assert_eq!(plain("a\tb\nö"), "a\tb\nö");
        assert_eq!(plain("a\u{1b}[2Jb\r"), "a\\u{1b}[2Jb\\u{d}");
        assert_eq!(plain("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
    }
}
