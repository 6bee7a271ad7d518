//! Profiles in `~/.aws`, for S3, as developers use them on their own machines.
//!
//! Keys, region and endpoint of one profile are read (AWS SDKs and Tools Reference Guide, "Shared
//! config and credentials files"). Profiles that get their keys from single sign-on, a role or a
//! program are refused by name.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use configparser::ini::Ini;

use crate::error::StoreError;

/// Maximum length of a profile file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
const DEFAULT: &str = "default";
/// Environment variables, and the profile setting that replaces the first of them if none is set.
type Names = (&'static [&'static str], &'static str);

const PLACE: [Names; 2] = [
    (&["AWS_REGION", "AWS_DEFAULT_REGION"], "region"),
    (&["AWS_ENDPOINT_URL", "AWS_ENDPOINT"], "endpoint_url"),
];
const KEYS: [Names; 3] = [
    (&["AWS_ACCESS_KEY_ID"], "aws_access_key_id"),
    (&["AWS_SECRET_ACCESS_KEY"], "aws_secret_access_key"),
    (&["AWS_SESSION_TOKEN"], "aws_session_token"),
];
/// Settings with which other tools obtain keys from elsewhere.
const ELSEWHERE: [&str; 6] = [
    "sso_session",
    "sso_start_url",
    "role_arn",
    "credential_process",
    "web_identity_token_file",
    "login_session",
];

/// The sections of a file, by name, with their settings.
type Sections = HashMap<String, HashMap<String, Option<String>>>;

type Settings<'a> = HashMap<&'a str, &'a str>;

/// Returns the settings of the profile selected by the environment, under the names of the
/// variables; without its keys if the environment has keys.
pub(crate) fn settings(
    environment: &[(String, String)],
) -> Result<Vec<(String, String)>, StoreError> {
    let variable = |wanted: &str| {
        let found = environment.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let chosen = variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
    let place = |wanted, name: &str| match variable(wanted) {
        Some(path) => Some(PathBuf::from(path)),
        None => variable("HOME").map(|home| Path::new(home).join(".aws").join(name)),
    };
    let credentials = read(place("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?;
    let config = read(place("AWS_CONFIG_FILE", "config"))?;
    let name = chosen.unwrap_or(DEFAULT);
    let mut found = config.get(&format!("profile {name}"));
    if name == DEFAULT {
        found = found.or_else(|| config.get(DEFAULT));
    }
    let keys = credentials.get(name);
    let is_there = found.is_some() || keys.is_some();
    let found: Settings<'_> = found
        .into_iter()
        .chain(keys)
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)))
        .collect();
    let named = |names: &[Names]| {
        let missing = names
            .iter()
            .filter(|(ours, _)| !ours.iter().any(|name| variable(name).is_some()));
        let settings = missing.filter_map(|(ours, theirs)| {
            let (name, value) = (ours.first()?, found.get(theirs)?);
            Some(((*name).to_owned(), (*value).to_owned()))
        });
        settings.collect::<Vec<_>>()
    };
    match chosen {
        Some(name) if !is_there => Err(refused(
            name,
            "is in neither the credentials file nor the config file",
        )),
        _ if variable("AWS_ACCESS_KEY_ID").is_some() => Ok(named(&PLACE)),
        _ => {
            check_keys(name, &found, chosen.is_some())?;
            Ok([named(&PLACE), named(&KEYS)].concat())
        }
    }
}

/// Refuses a profile without keys. The default profile may have none, because the machine may have
/// a role.
fn check_keys(name: &str, found: &Settings<'_>, is_chosen: bool) -> Result<(), StoreError> {
    let has = |key| found.contains_key(key);
    match (has("aws_access_key_id"), has("aws_secret_access_key")) {
        (true, true) => return Ok(()),
        (false, false) => (),
        _ => return Err(refused(name, "has only half of an access key")),
    }
    if let Some(elsewhere) = ELSEWHERE.iter().find(|key| has(key)) {
        return Err(StoreError::Profile {
            name: name.to_owned(),
            rule: format!("gets its keys through {elsewhere}, which is not supported"),
        });
    }
    if is_chosen {
        return Err(refused(name, "has no access key"));
    }
    Ok(())
}

fn refused(name: &str, rule: &str) -> StoreError {
    StoreError::Profile {
        name: name.to_owned(),
        rule: rule.to_owned(),
    }
}

fn read(path: Option<PathBuf>) -> Result<Sections, StoreError> {
    let Some(path) = path else {
        return Ok(Sections::new());
    };
    let failed = |source| StoreError::ProfileFile {
        path: path.clone(),
        source,
    };
    match fs::metadata(&path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(failed(io::Error::other("the file is too long")));
        }
        Ok(_) => (),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sections::new()),
        Err(error) => return Err(failed(error)),
    }
    let text = fs::read_to_string(&path).map_err(failed)?;
    // Indented lines belong to the setting above them, such as `s3`, not to the profile.
    let own = text.lines().filter(|line| !line.starts_with([' ', '\t']));
    let mut parser = Ini::new_cs();
    parser.set_inline_comment_symbols(Some(&[]));
    // The parser's message has the line number, but not the line.
    parser
        .read(own.collect::<Vec<_>>().join("\n"))
        .map_err(|message| failed(io::Error::new(io::ErrorKind::InvalidData, message)))
}
