//! `casemate age`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use casemate_age::{AgeError, Encoding, decrypt, encrypt};
use casemate_crypto::{
    encoding::{KEY_FILE_BYTES_MAX, PrivateKey},
    kem::KemPrivateKey,
    suite::MLKEM768_X25519,
};
use casemate_environment::read_secret;
use casemate_keys::{Role, Usage};
use casemate_seal::file::{Access, AtomicFile, Existing};
use serde_json::json;

use crate::{
    args::{AgeCommand, AgeDecryptOptions, AgeEncryptOptions},
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    printer::{bytes_text, path_text},
};

pub(crate) fn run(context: &Context<'_>, command: &AgeCommand) -> Result<(), Fault> {
    let (AgeCommand::Encrypt(AgeEncryptOptions { input, .. })
    | AgeCommand::Decrypt(AgeDecryptOptions { input, .. })) = command;
    if is_dash(input) && context.passphrase_files().iter().any(|file| is_dash(file)) {
        let message = "standard input cannot be both the passphrase and the file";
        return Err(Fault::usage(message).hint("give one of them as a path, or leave out --passphrase-file to be prompted on the terminal"));
    }
    match command {
        AgeCommand::Encrypt(options) => run_encrypt(context, options),
        AgeCommand::Decrypt(options) => run_decrypt(context, options),
    }
}

fn run_encrypt(context: &Context<'_>, options: &AgeEncryptOptions) -> Result<(), Fault> {
    let output = match &options.output {
        Some(output) => output.clone(),
        None if is_dash(&options.input) => PathBuf::from("-"),
        None => with_suffix(&options.input),
    };
    let mut keyring = Keyring::new(context);
    let recipients = keyring.recipients(&options.to)?;
    let one = Usage { uses: 1, bytes: 0 };
    keyring.reserve(options.to.iter().map(String::as_str), one)?;
    let recipients: Vec<_> = recipients.iter().collect();
    let encoding = if options.armor {
        Encoding::Armor
    } else {
        Encoding::Binary
    };
    let input = reader(&options.input)?;
    let access = Access::Umask;
    let bytes = write_to(context, &output, access, options.force, |file| {
        let mut sink = BufWriter::new(file);
        let bytes = encrypt(&recipients, input, &mut sink, encoding)?;
        sink.flush()?;
        Ok(bytes)
    })?;
    report(context, "encrypted", bytes, &output);
    Ok(())
}

fn run_decrypt(context: &Context<'_>, options: &AgeDecryptOptions) -> Result<(), Fault> {
    let output = match &options.output {
        Some(output) => output.clone(),
        None if is_dash(&options.input) => PathBuf::from("-"),
        None => without_suffix(&options.input)?,
    };
    let identities = identities(context, options.identity.as_deref())?;
    let identities: Vec<_> = identities.iter().collect();
    let input = reader(&options.input)?;
    let access = Access::Owner;
    // Unbuffered, so that no copy of the content stays in memory.
    let bytes = write_to(context, &output, access, options.force, |file| {
        decrypt(&identities, input, file)
    })?;
    report(context, "decrypted", bytes, &output);
    Ok(())
}

/// Returns the key of an identity file, or every key of the store that age can use.
fn identities(context: &Context<'_>, file: Option<&Path>) -> Result<Vec<KemPrivateKey>, Fault> {
    context.policy()?.check_kem(&MLKEM768_X25519)?;
    if let Some(path) = file {
        let text = read_secret(path, KEY_FILE_BYTES_MAX)?;
        let text = str::from_utf8(text.expose())
            .map_err(|_| Fault::usage(format!("{} is not UTF-8", path.display())))?;
        return Ok(vec![casemate_age::identity_from_text(text)?]);
    }
    let store = context.keys()?;
    let mut keys = Vec::new();
    for entry in store.list()?.keys {
        if entry.suite == MLKEM768_X25519.name
            && entry.role == Role::Private
            && entry.state.opens()
            && let PrivateKey::Kem(key) = store.private_key(&entry)?
        {
            context.policy()?.check_kem(key.suite())?;
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err(AgeError::NoMatch.into());
    }
    Ok(keys)
}

fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

fn with_suffix(input: &Path) -> PathBuf {
    let mut name = input.as_os_str().to_owned();
    name.push(".age");
    name.into()
}

fn without_suffix(input: &Path) -> Result<PathBuf, Fault> {
    if input
        .extension()
        .is_some_and(|extension| extension == "age")
    {
        return Ok(input.with_extension(""));
    }
    let message = format!("{} does not end in .age", input.display());
    Err(Fault::usage(message).hint("name the output with -o FILE"))
}

fn reader(path: &Path) -> Result<Box<dyn BufRead>, Fault> {
    if is_dash(path) {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(|error| Fault::file("open", path, error))?;
    Ok(Box::new(BufReader::new(file)))
}

/// Runs `work` on standard output, or on a file that appears only if it succeeds.
fn write_to(
    context: &Context<'_>,
    output: &Path,
    access: Access,
    force: bool,
    work: impl FnOnce(&mut ErrorTrackingFile) -> Result<u64, AgeError>,
) -> Result<u64, Fault> {
    if is_dash(output) {
        let out = context.printer.content();
        let file = out.map_err(|error| Fault::from_error(Outcome::Io, error))?;
        let mut out = ErrorTrackingFile {
            file,
            has_failed: false,
        };
        return work(&mut out).map_err(|error| {
            if out.has_failed {
                return context.printer.content_failed(error.into());
            }
            // Report an error of the input even if the reader closed the pipe.
            error.into()
        });
    }
    let existing = if force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let failed = |error| Fault::file("write", output, error);
    let target = AtomicFile::create(output, access, existing).map_err(failed)?;
    let file = target.file().try_clone().map_err(failed)?;
    let bytes = work(&mut ErrorTrackingFile {
        file,
        has_failed: false,
    })?;
    target.commit(existing).map_err(failed)?;
    Ok(bytes)
}

/// A file that remembers whether a write to it failed, which an age error does not tell.
struct ErrorTrackingFile {
    file: File,
    has_failed: bool,
}

impl Write for ErrorTrackingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.has_failed |= written.is_err();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn report(context: &Context<'_>, what: &str, bytes: u64, output: &Path) {
    if is_dash(output) {
        return;
    }
    context.printer.json(
        &json!({ "schema": "casemate.age/1", "output": path_text(output), "content_bytes": bytes }),
    );
    let text = bytes_text(bytes);
    context
        .printer
        .done(&format!("{what} {text} to {}", output.display()));
}
