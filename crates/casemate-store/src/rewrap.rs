//! Changing the recipients of an object: the object store copies the body itself, and only the new
//! tail is sent.

use std::io;

use casemate_seal::{NewTail, ReadAt};
use object_store::{PutMode, PutOptions, UpdateVersion};

use crate::{
    io_error::Changed,
    object::{RemoteObject, ends_with},
    s3::PART_MIN,
    upload,
};

/// Number of bytes that are transferred at once if the object store cannot copy itself.
const MOVED: usize = 8 << 20;

/// Replaces everything after the body of `object` with the new tail. Other clients see the complete
/// old or the complete new object.
///
/// S3 copies the body itself. For Google Cloud Storage and Azure, the encrypted body is downloaded
/// and uploaded again.
///
/// # Errors
///
/// [`io::ErrorKind::ResourceBusy`] if the object was replaced in the meantime; the error of the
/// object store. The object is then unchanged.
pub fn replace_tail(object: &RemoteObject, new: &NewTail) -> io::Result<()> {
    let tail = new.encode().map_err(io::Error::other)?;
    let location = object.location();
    let bucket = &location.bucket;
    if new.body_len < PART_MIN {
        return replace_whole(object, new.body_len, tail);
    }
    let copied = bucket
        .provider
        .replace_tail(object.version(), new.body_len, &tail);
    let Some(answer) = bucket.handle.block_on(copied) else {
        return move_parts(object, new.body_len, &tail);
    };
    // Responses get lost, and a proxy may report a false success. Check the object itself.
    let len = new.body_len.saturating_add(tail.len() as u64);
    match (ends_with(location, len, &tail), answer) {
        (Ok(true), _) => Ok(()),
        (_, Err(error)) | (Err(error), Ok(())) => Err(error),
        (Ok(false), Ok(())) => Err(io::Error::new(io::ErrorKind::ResourceBusy, Changed)),
    }
}

/// Writes a short object again in one request, which the object store refuses if the object was
/// replaced.
fn replace_whole(object: &RemoteObject, body_len: u64, tail: Vec<u8>) -> io::Result<()> {
    let mut whole = vec![0; usize::try_from(body_len).map_err(io::Error::other)?];
    object.read_exact_at(&mut whole, 0)?;
    whole.extend(tail);
    let meta = object.meta();
    let mode = PutMode::Update(UpdateVersion {
        e_tag: meta.e_tag.clone(),
        version: meta.version.clone(),
    });
    let bucket = &object.location().bucket;
    let described = bucket.provider.description(object.version());
    let described = bucket.handle.block_on(described)?;
    let options = PutOptions {
        mode,
        attributes: described.attributes,
        tags: described.tags,
        ..PutOptions::default()
    };
    upload::put(object.location(), whole, options)
}

/// Downloads and uploads the body, part by part.
fn move_parts(object: &RemoteObject, body_len: u64, tail: &[u8]) -> io::Result<()> {
    use casemate_seal::{WriteAt, file::Existing};
    let location = object.location();
    let len = body_len.saturating_add(tail.len() as u64);
    let attributes = object.attributes().clone();
    let target = upload::Upload::with_attributes(location, len, Existing::Replace, attributes)?;
    object.will_read(0..body_len);
    let mut at = 0;
    let mut buffer = vec![0; MOVED];
    while at < body_len {
        let len = body_len.saturating_sub(at).min(buffer.len() as u64);
        let part = usize::try_from(len)
            .ok()
            .and_then(|len| buffer.get_mut(..len))
            .ok_or(io::ErrorKind::InvalidInput)?;
        object.read_exact_at(part, at)?;
        target.write_all_at(part, at)?;
        at = at.saturating_add(len);
    }
    target.write_all_at(tail, body_len)?;
    // A concurrent change between this check and the completion is lost; these object stores have
    // no condition for completing an upload.
    refuse_changed(object)?;
    target.commit()
}

fn refuse_changed(object: &RemoteObject) -> io::Result<()> {
    let now = RemoteObject::open(object.location())?;
    let (now, then) = (now.meta(), object.meta());
    if now.e_tag != then.e_tag || now.last_modified != then.last_modified {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, Changed));
    }
    Ok(())
}
