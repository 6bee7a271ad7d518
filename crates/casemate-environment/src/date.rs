//! Dates as users write them.

use std::time::UNIX_EPOCH;

/// Parses a UTC date and returns it in seconds since 1970-01-01 UTC.
///
/// The date is `2026-12-31`, which means its first instant, or `2026-12-31T23:59:59Z`. Returns
/// `None` for any other text.
pub fn seconds_of(text: &str) -> Option<u64> {
    let time = if text.len() == "2026-12-31".len() {
        humantime::parse_rfc3339(&format!("{text}T00:00:00Z"))
    } else {
        humantime::parse_rfc3339(text)
    };
    let since = time.ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_or_instants_in_utc() {
        // `date -u -d ... +%s`
        assert_eq!(seconds_of("2026-11-29"), Some(1_795_910_400));
        assert_eq!(seconds_of("2026-11-29T12:34:56Z"), Some(1_795_955_696));
        assert_eq!(seconds_of("1970-01-01"), Some(0));
        for bad in [
            "",
            "2026-11-31",
            "2026-11-29T12:34:56",
            "2026-11-29T12:34:56+01:00",
            "29.11.2026",
            "tomorrow",
        ] {
            assert_eq!(seconds_of(bad), None, "{bad}");
        }
    }
}
