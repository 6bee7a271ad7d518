//! The FUSE file system, which answers requests of the kernel.

use std::{
    ffi::OsStr,
    io,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry,
    ReplyOpen, ReplyStatfs, Request,
};
use rustix::process::{getgid, getuid};

use crate::{
    MountedFile, Report,
    files::Files,
    tree::{Node, ROOT, Tree},
};

/// How long the kernel may cache answers. Nothing changes while the view is mounted.
const TTL: Duration = Duration::from_hours(1);
/// Number of bytes that the kernel may read ahead.
const READAHEAD_BYTES: u32 = 2 << 20;
const BLOCK_BYTES: u32 = 4096;
/// The timestamp of everything, as time since 1970: 2 January 1980, UTC. No time was signed, and
/// zip archives cannot store one before 1980 in any time zone.
const AGE: Duration = Duration::from_hours(87_672);
/// Longest file name on Linux, in bytes.
const NAME_BYTES: u32 = 255;

pub(crate) struct View {
    tree: Tree,
    files: Arc<Files>,
}

impl View {
    pub(crate) fn new(files: Vec<MountedFile>, report: Report) -> Self {
        Self {
            tree: Tree::new(files.iter().map(|file| file.path.as_str())),
            files: Files::new(files, report),
        }
    }

    fn attributes(&self, inode: u64) -> Option<FileAttr> {
        let (kind, perm, size, nlink) = match self.tree.get(inode)? {
            Node::Folder { .. } => (FileType::Directory, 0o500, 0, 2),
            Node::File(number) => {
                let len = self.files.content_len(*number)?;
                (FileType::RegularFile, 0o400, len, 1)
            }
        };
        let time = UNIX_EPOCH.checked_add(AGE).unwrap_or(UNIX_EPOCH);
        Some(FileAttr {
            ino: INodeNo(inode),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink,
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
            rdev: 0,
            blksize: BLOCK_BYTES,
            flags: 0,
        })
    }
}

impl Filesystem for View {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // The kernel's own limit applies if it is lower.
        if let Err(most) = config.set_max_readahead(READAHEAD_BYTES) {
            _ = config.set_max_readahead(most);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.tree.find(parent.0, name);
        match found.and_then(|inode| self.attributes(inode)) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode.0) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let Some(Node::File(number)) = self.tree.get(inode.0) else {
            return reply.error(Errno::EISDIR);
        };
        match self.files.opened(*number) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(Node::File(number)) = self.tree.get(inode.0) else {
            return reply.error(Errno::EISDIR);
        };
        let range = offset..offset.saturating_add(u64::from(size));
        // Passing data consumes the reply, so an error takes another path.
        let mut reply = Some(reply);
        let read = self.files.read_range(*number, range, |bytes| {
            if let Some(reply) = reply.take() {
                reply.data(bytes);
            }
        });
        if let (Err(errno), Some(reply)) = (read, reply) {
            reply.error(errno);
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // Report a full file system with the total length of its files.
        let (files, blocks) = self.files.totals(u64::from(BLOCK_BYTES));
        reply.statfs(blocks, 0, 0, files, 0, BLOCK_BYTES, NAME_BYTES, BLOCK_BYTES);
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(Node::Folder { parent, entries }) = self.tree.get(inode.0) else {
            return reply.error(Errno::ENOTDIR);
        };
        let dots = [(OsStr::new("."), inode.0), (OsStr::new(".."), *parent)];
        let all = dots.into_iter().chain(
            entries
                .iter()
                .map(|(name, inode)| (name.as_os_str(), *inode)),
        );
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (number, (name, inode)) in all.enumerate().skip(skip) {
            let kind = match self.tree.get(inode) {
                Some(Node::File(_)) => FileType::RegularFile,
                _ => FileType::Directory,
            };
            // The offset is where the next call continues.
            let next = (number as u64).saturating_add(1);
            if reply.add(INodeNo(inode), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

const _: () = assert!(
    ROOT == INodeNo::ROOT.0,
    "the kernel's inode number of the mount point"
);
