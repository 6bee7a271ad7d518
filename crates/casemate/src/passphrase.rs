//! Reads the key store's passphrase or random key from a file, standard input or a terminal, never
//! from the command line or the environment.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use casemate_crypto::{SecretBytes, encoding::KEY_FILE_BYTES_MAX};
use casemate_environment::{read_secret, store_secret, without_line_end};
use casemate_keys::{StoreKey, StoreSecret};
use casemate_seal::file::{self, Access, Existing};

use crate::fault::{Fault, Outcome};

/// Reads what opens an existing store from files: passphrases, random keys and private keys.
pub(crate) fn from_files(files: &[PathBuf]) -> Result<Vec<StoreSecret>, Fault> {
    if files.iter().filter(|path| *path == Path::new("-")).count() > 1 {
        return Err(Fault::usage(
            "standard input can be only one --passphrase-file",
        ));
    }
    files
        .iter()
        .map(|path| Ok(store_secret(&from_file(path)?)?))
        .collect()
}

/// Asks for a passphrase of an existing store.
pub(crate) fn asked(question: &str) -> Result<StoreSecret, Fault> {
    Ok(store_secret(&prompt(question)?)?)
}

/// Reads the passphrase of a new store, twice on a terminal, or its random key.
pub(crate) fn new(file: Option<&Path>) -> Result<StoreSecret, Fault> {
    let text = if let Some(path) = file {
        let text = from_file(path)?;
        let text = SecretBytes::new(without_line_end(text.expose()).to_vec());
        check_typable(text.expose())?;
        text
    } else {
        let first = prompt("New passphrase: ")?;
        if first.expose() != prompt("Repeat the new passphrase: ")?.expose() {
            return Err(Fault::usage("the two passphrases differ"));
        }
        first
    };
    Ok(StoreSecret::read(text)?)
}

/// Refuses a new passphrase that cannot be typed at a prompt, which reads a single line.
fn check_typable(passphrase: &[u8]) -> Result<(), Fault> {
    let hint =
        "write one line of text without a byte-order mark, for example with `printf '%s\\n' ...`";
    let refused = |what: &str| {
        let message = format!("the passphrase file {what}, which cannot be typed at a prompt");
        Err(Fault::usage(message).hint(hint))
    };
    if passphrase.starts_with("\u{feff}".as_bytes()) {
        return refused("begins with a byte-order mark");
    }
    if passphrase.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return refused("has more than one line");
    }
    if passphrase.contains(&0) {
        return refused("contains a zero byte");
    }
    Ok(())
}

/// Generates a random key and writes it to a new file.
pub(crate) fn random_key(file: Option<&Path>, option: &str) -> Result<StoreSecret, Fault> {
    let Some(path) = file.filter(|path| *path != Path::new("-")) else {
        return Err(
            Fault::usage("no file was given for the random key").hint(format!(
                "pass {option} FILE with a file that does not exist yet"
            )),
        );
    };
    let key = StoreKey::generate()?;
    file::write(path, key.to_line()?.expose(), Access::Owner, Existing::Keep).map_err(|error| {
        let exists = error.kind() == io::ErrorKind::AlreadyExists;
        let fault = Fault::file("write the random key to", path, error);
        if exists {
            fault.hint("choose a file that does not exist yet; the contents of this one may still be needed")
        } else {
            fault
        }
    })?;
    Ok(StoreSecret::Key(key))
}

/// Prompts on the controlling terminal, even if standard input is redirected.
fn prompt(text: &str) -> Result<SecretBytes, Fault> {
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    if terminal.is_err() {
        return Err(Fault::usage(
            "the key store needs a passphrase, but there is no terminal to prompt on",
        )
        .hint("pass --passphrase-file FILE, or --passphrase-file - to read standard input"));
    }
    let typed = rpassword::prompt_password(text);
    typed
        .map(|typed| SecretBytes::new(typed.into_bytes()))
        .map_err(|error| Fault::from_error(Outcome::Io, error))
}

fn from_file(path: &Path) -> Result<SecretBytes, Fault> {
    if path == Path::new("-") {
        return read_limited(&mut io::stdin().lock(), KEY_FILE_BYTES_MAX)
            .map_err(|error| Fault::file("read the passphrase from", path, error));
    }
    read_secret(path, KEY_FILE_BYTES_MAX)
        .map_err(|error| Fault::from(error).about("passphrase file"))
}

/// Reads at most `limit` bytes into a buffer that never grows, so that no copy stays behind.
fn read_limited(from: &mut impl Read, limit: usize) -> io::Result<SecretBytes> {
    let one_more = limit.saturating_add(1);
    let mut bytes = Vec::with_capacity(one_more);
    from.take(one_more as u64).read_to_end(&mut bytes)?;
    let too_long = bytes.len() > limit;
    let secret = SecretBytes::new(bytes);
    if too_long {
        let message = format!("longer than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(secret)
}
