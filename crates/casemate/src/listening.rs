//! What every command that serves needs: certificates, and how many connections there may be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use casemate_crypto::SecretBytes;
use casemate_environment::{read_limited, read_secret};
use casemate_seal::file::{self, Access, Existing};
use casemate_server::Listening;
use casemate_tls as tls;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Deserialize;

use crate::{context::Context, fault::Fault};

/// Open files reserved for uses other than connections.
const RESERVED_FILES: usize = 64;
/// Longest certificate chain or TLS key file, in bytes.
pub(crate) const TLS_FILE_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Deserialize)]
#[serde(try_from = "TlsEntry")]
pub(crate) enum Tls {
    /// Certificate chain and key, PEM.
    Files { certificate: PathBuf, key: PathBuf },
    /// A folder in which certificates for `names` are created on first use.
    SelfSigned {
        self_signed: PathBuf,
        names: Vec<String>,
    },
}

/// The table as written in the file, so that the error for an unknown field names the field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsEntry {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    self_signed: Option<PathBuf>,
    names: Option<Vec<String>>,
}

impl TryFrom<TlsEntry> for Tls {
    type Error = &'static str;

    fn try_from(entry: TlsEntry) -> Result<Self, Self::Error> {
        match (entry.certificate, entry.key, entry.self_signed, entry.names) {
            (Some(certificate), Some(key), None, None) => Ok(Self::Files { certificate, key }),
            (None, None, Some(self_signed), Some(names)) => {
                Ok(Self::SelfSigned { self_signed, names })
            }
            (Some(_), None, None, None) => Err("`certificate` is set without `key`"),
            (None, Some(_), None, None) => Err("`key` is set without `certificate`"),
            (None, None, Some(_), None) => Err("`self_signed` is set without `names`"),
            (None, None, None, Some(_)) => Err("`names` is set without `self_signed`"),
            _ => Err("set either `certificate` and `key`, or `self_signed` and `names`"),
        }
    }
}

/// Returns how many connections the limit on open files allows, after raising it as far as
/// possible. Each connection may need another one to the upstream.
pub(crate) fn connections(context: &Context<'_>, wanted: usize, has_upstream: bool) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // If this fails, fewer connections are accepted below.
        _ = setrlimit(Resource::Nofile, limit);
        limit = getrlimit(Resource::Nofile);
    }
    let files = limit.current.and_then(|files| usize::try_from(files).ok());
    let each = if has_upstream { 2 } else { 1 };
    let possible = files.map_or(wanted, |files| {
        files.saturating_sub(RESERVED_FILES).div_euclid(each)
    });
    if possible < wanted {
        context.printer.warning(&format!(
            "the limit on open files allows {possible} connections instead of {wanted}; raise it with `ulimit -n` or `LimitNOFILE=`"
        ));
    }
    possible.clamp(1, wanted)
}

/// Reads the certificate chain and its key; creates self-signed ones on first use.
pub(crate) fn read_tls_files(
    context: &Context<'_>,
    tls: &Tls,
    base: &Path,
) -> Result<(Vec<u8>, SecretBytes), Fault> {
    let (certificate, key) = match tls {
        Tls::Files { certificate, key } => (base.join(certificate), base.join(key)),
        Tls::SelfSigned { self_signed, names } => {
            let folder = base.join(self_signed);
            let paths = (folder.join("cert.pem"), folder.join("key.pem"));
            if !paths.0.exists() {
                make_self_signed(&folder, names)?;
                let root = folder.join("root.pem");
                context.printer.done(&format!(
                    "created a self-signed certificate; clients must trust {}",
                    root.display()
                ));
            }
            paths
        }
    };
    let certificates = read_limited(&certificate, TLS_FILE_BYTES_MAX)?;
    Ok((
        certificates.expose().to_vec(),
        read_secret(&key, TLS_FILE_BYTES_MAX)?,
    ))
}

fn make_self_signed(folder: &Path, names: &[String]) -> Result<(), Fault> {
    fs::create_dir_all(folder).map_err(|error| Fault::file("create", folder, error))?;
    let made = tls::self_signed(names.to_vec())?;
    let write = |name: &str, bytes: &[u8], access| {
        let path = folder.join(name);
        file::write(&path, bytes, access, Existing::Replace)
            .map_err(|error| Fault::file("write", &path, error))
    };
    // Write the certificate last: if it exists, so do the other files.
    write("root.pem", made.root.as_bytes(), Access::Umask)?;
    write("key.pem", made.key.expose(), Access::Owner)?;
    write("cert.pem", made.certificate.as_bytes(), Access::Umask)
}

/// Says where a command serves.
pub(crate) fn announce(context: &Context<'_>, what: &str, found: Listening) {
    if let Some(health) = found.health {
        let text = format!("answering probes on http://{health}");
        context.printer.done(&text);
    }
    let text = format!("{what} https://{}", found.address);
    context.printer.done(&text);
}
