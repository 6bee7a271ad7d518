//! Prints data to standard output and everything else to standard error.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
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

/// Longest message on standard error, in characters: logs keep messages, and names in them are
/// untrusted.
const MESSAGE_CHARS_MAX: usize = 4096;

/// Prints the output of a command.
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

    /// Prints data: JSON if requested, else the text.
    pub(crate) fn data(&self, json: &Value, text: &str) {
        if self.json {
            self.json(json);
        } else {
            self.line(text);
        }
    }

    /// Prints JSON if requested. For commands that otherwise only say what they did.
    pub(crate) fn json(&self, json: &Value) {
        if self.json {
            let text = escaped(&format!("{json:#}"));
            self.note_failure(writeln!(io::stdout().lock(), "{text}"));
        }
    }

    /// Prints a line of data.
    pub(crate) fn line(&self, text: &str) {
        self.note_failure(writeln!(io::stdout().lock(), "{}", plain(text)));
    }

    fn note_failure(&self, written: io::Result<()>) {
        if let Err(error) = written {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert(error);
        }
    }

    /// Flushes standard output. A closed pipe is not an error; a full disk is.
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

    /// Returns why content could not be written: [`Outcome::OutputClosed`] if the reader closed the
    /// pipe, as `head` does, else `fault`.
    #[expect(clippy::unused_self, reason = "all output goes through a printer")]
    pub(crate) fn content_failed(&self, fault: Fault) -> Fault {
        let out = io::stdout();
        let mut polled = [PollFd::new(&out, PollFlags::empty())];
        let asked = poll(&mut polled, Some(&Timespec::default()));
        let is_unread = |out: &PollFd<'_>| out.revents().contains(PollFlags::ERR);
        if asked.is_ok() && polled.iter().any(is_unread) {
            return Fault::new(Outcome::OutputClosed, "the reader closed standard output");
        }
        fault
    }

    /// Returns standard output for content, unbuffered so that no copy of the content is kept.
    #[expect(clippy::unused_self, reason = "all output goes through a printer")]
    pub(crate) fn content(&self) -> io::Result<File> {
        let mut out = io::stdout().lock();
        out.flush()?;
        Ok(File::from(out.as_fd().try_clone_to_owned()?))
    }

    /// Prints a note.
    pub(crate) fn note(&self, text: &str) {
        self.say("note", "36", text);
    }

    /// Prints what a command did.
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

    /// Prints the argument parser's message, which repeats untrusted arguments.
    pub(crate) fn parser(&self, error: &clap::Error) {
        if error.use_stderr() {
            let text = error.render().to_string();
            let short: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
            _ = write!(io::stderr().lock(), "{}", plain(&short));
        } else {
            // Help and version contain only our own text.
            self.note_failure(error.print());
        }
    }

    fn say(&self, word: &str, colour: &str, text: &str) {
        let text = indented(text);
        let mut err = io::stderr().lock();
        // If standard error is closed, there is nowhere left to report to.
        _ = if self.colour {
            writeln!(err, "\x1b[1;{colour}m{word}:\x1b[0m {text}")
        } else {
            writeln!(err, "{word}: {text}")
        };
    }
}

/// Returns whether a character neither moves the cursor nor hides or reverses text.
fn is_plain(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        other => !other.is_control(),
    }
}

/// Returns text on one line: a file name may have line feeds.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// Escapes what is not plain in JSON, where it can only be in a string.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            // All of these are in the first plane.
            _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
    out
}

/// Escapes what is not plain: names in messages are untrusted.
fn plain(text: &str) -> Cow<'_, str> {
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

/// As [`plain`], cut to [`MESSAGE_CHARS_MAX`]. Indents every line after the first, so that
/// untrusted text cannot pass for a message of its own.
fn indented(text: &str) -> String {
    let mut short: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    plain(&short).replace('\n', "\n    ")
}

/// Returns a path as text for JSON, which must be UTF-8.
pub(crate) fn path_text(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

/// Returns a count with its noun, such as "1 file" and "2 files".
pub(crate) fn count_text<N: Copy + From<u8> + PartialEq + fmt::Display>(
    count: N,
    thing: &str,
) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Returns a length in a readable unit, with the exact number of bytes.
pub(crate) fn bytes_text(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = bytes as f64;
    match bytes {
        0..1_000_000 => format!("{bytes} B"),
        1_000_000..1_000_000_000 => format!("{:.2} MB ({bytes} B)", value / 1e6),
        _ => format!("{:.2} GB ({bytes} B)", value / 1e9),
    }
}

/// Returns a time in UTC. The number is untrusted: a publisher can claim any.
pub(crate) fn time_text(seconds: u64) -> String {
    /// 31 December 9999, the last day that the format can express.
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
    fn json_stays_json_when_it_is_escaped() {
        let json = serde_json::json!({ "name": "a\u{202e}b\u{200b}\u{7f}\u{9b}\n\u{e9}" });
        let text = escaped(&format!("{json:#}"));
        assert!(text.chars().all(is_plain), "{text}");
        assert!(
            text.contains("a\\u202eb\\u200b\\u007f\\u009b\\n\u{e9}"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json);
    }

    #[test]
    fn times_after_the_year_9999_are_shown_in_seconds() {
        assert_eq!(time_text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(time_text(253_402_300_799), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(
            time_text(u64::MAX),
            "18446744073709551615 seconds after 1970"
        );
    }

    #[test]
    fn untrusted_text_cannot_start_a_line() {
        let forged = "m\nrewrapped 12 objects\nerror: x";
        assert_eq!(
            indented(forged),
            "m\n    rewrapped 12 objects\n    error: x"
        );
    }

    #[test]
    fn long_messages_are_cut() {
        let long = "x".repeat(1 << 20);
        assert_eq!(indented(&long).chars().count(), MESSAGE_CHARS_MAX + 1);
        let fits = "x".repeat(MESSAGE_CHARS_MAX);
        assert_eq!(indented(&fits), fits);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\tb\nö"), "a\tb\nö");
        assert_eq!(plain("a\u{1b}[2Jb\r"), "a\\u{1b}[2Jb\\u{d}");
        assert_eq!(plain("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
    }
}
