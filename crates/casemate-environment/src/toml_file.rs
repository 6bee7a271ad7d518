//! Reading untrusted TOML files.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{EnvironmentError, read_limited};

/// Maximum length of the parser's message that an error quotes, in characters. The message quotes
/// the file.
const MESSAGE_CHARS_MAX: usize = 160;

/// Reads a TOML file of at most `limit` bytes.
///
/// # Errors
///
/// [`EnvironmentError::Toml`] with line and column, but not the line itself, and the errors of
/// reading a file.
pub fn read_toml<T: DeserializeOwned>(path: &Path, limit: usize) -> Result<T, EnvironmentError> {
    let text = read_limited(path, limit)?;
    let text =
        str::from_utf8(text.expose()).map_err(|_| EnvironmentError::NotUtf8(path.to_owned()))?;
    toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let first = error.message().lines().next().unwrap_or_default();
        EnvironmentError::Toml {
            path: path.to_owned(),
            line,
            column,
            message: bounded(first),
        }
    })
}

/// Returns the line and column, both from 1, of a byte in the text.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let start = before
        .rfind('\n')
        .map_or(0, |newline| newline.saturating_add(1));
    let column = before.get(start..).unwrap_or_default().chars().count();
    (line, column.saturating_add(1))
}

fn bounded(message: &str) -> String {
    if message.chars().count() <= MESSAGE_CHARS_MAX {
        return message.to_owned();
    }
    let mut short: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wire {
        #[expect(dead_code, reason = "only read")]
        number: u32,
    }

    #[test]
    fn an_error_says_where_and_repeats_little_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_toml::<Wire>(&path, 1 << 20).map(|_| ())
        };
        read("number = 7").unwrap();
        let long = "x".repeat(900_000);
        for (text, expected) in [
            ("number = 7\nother = 8".to_owned(), Some((2, 1))),
            (format!("number = 7\n  {long} = 8"), Some((2, 3))),
            (format!("number = \"{long}\""), Some((1, 10))),
            (format!("# {long}\nnumber = = 1"), Some((2, 10))),
            (String::new(), Some((1, 1))),
        ] {
            let error = read(&text).unwrap_err();
            let shown = error.to_string();
            assert!(shown.len() < 600, "{shown}");
            let EnvironmentError::Toml { line, column, .. } = error else {
                panic!("{shown}");
            };
            assert_eq!(Some((line, column)), expected, "{shown}");
        }
    }
}
