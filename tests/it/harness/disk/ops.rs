//! File system operations that the kernel requests through FUSE.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::Memory;
use super::files::{attributes, data, grow};
use super::reply::{Class, Refuse};
use super::tree::Tree;

/// Cache time of names and attributes. All changes go through the kernel, so its cache stays valid.
const TTL: Duration = Duration::from_hours(1);
pub(super) const BLOCK_BYTES: u32 = 4096;

/// The mounted file system.
pub struct Mounted(pub Arc<Memory>);

impl Mounted {
    fn look<R: Refuse, A>(
        &self,
        reply: R,
        work: impl FnOnce(&mut Tree) -> Result<A, Errno> + Send + 'static,
        send: impl FnOnce(R, A) + Send + 'static,
    ) {
        self.0.answer(Class::Read, reply, work, send);
    }

    fn change(
        &self,
        reply: ReplyEmpty,
        work: impl FnOnce(&mut Tree) -> Result<(), Errno> + Send + 'static,
    ) {
        self.0
            .answer(Class::Write, reply, work, |reply, ()| reply.ok());
    }

    fn enter(
        &self,
        reply: ReplyEntry,
        work: impl FnOnce(&mut Tree) -> Result<u64, Errno> + Send + 'static,
    ) {
        let made = move |tree: &mut Tree| work(tree).and_then(|node| attributes(tree, node));
        self.0.answer(Class::Write, reply, made, |reply, attr| {
            reply.entry(&TTL, &attr, Generation(0));
        });
    }
}

impl Filesystem for Mounted {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // As on a local disk, opening a file needs no operation of the file system.
        let _ = config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        let find = move |tree: &mut Tree| {
            let node = tree.find(parent.0, &name).ok_or(Errno::ENOENT)?;
            attributes(tree, node)
        };
        self.look(reply, find, |reply, attr| {
            reply.entry(&TTL, &attr, Generation(0));
        });
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.look(
            reply,
            move |tree| attributes(tree, ino.0),
            |reply, attr| reply.attr(&TTL, &attr),
        );
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = move |tree: &mut Tree| {
            if let Some(size) = size {
                grow(tree, ino.0, size)?;
                data(tree, ino.0)?.truncate(usize::try_from(size).map_err(|_| Errno::EFBIG)?);
            }
            let node = tree.node_mut(ino.0).ok_or(Errno::ENOENT)?;
            node.mode = mode.unwrap_or(node.mode);
            node.changed = SystemTime::now();
            match modified {
                Some(TimeOrNow::SpecificTime(time)) => node.modified = time,
                Some(TimeOrNow::Now) => node.modified = node.changed,
                None => {}
            }
            attributes(tree, ino.0)
        };
        self.0.answer(Class::Write, reply, set, |reply, attr| {
            reply.attr(&TTL, &attr);
        });
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let name = name.to_owned();
        self.enter(reply, move |tree| make(tree, parent.0, &name, mode, true));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.change(reply, move |tree| {
            tree.remove(parent.0, &name).ok_or(Errno::ENOENT)
        });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.change(reply, move |tree| {
            let node = tree.find(parent.0, &name).ok_or(Errno::ENOENT)?;
            if tree.names(node).is_some_and(|names| !names.is_empty()) {
                return Err(Errno::ENOTEMPTY);
            }
            tree.remove(parent.0, &name).ok_or(Errno::ENOENT)
        });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, newname) = (name.to_owned(), newname.to_owned());
        self.change(reply, move |tree| {
            if !flags.is_empty() {
                return Err(Errno::EINVAL);
            }
            let node = tree.find(parent.0, &name).ok_or(Errno::ENOENT)?;
            tree.set(newparent.0, &newname, node).ok_or(Errno::ENOENT)?;
            tree.remove(parent.0, &name).ok_or(Errno::ENOENT)
        });
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let newname = newname.to_owned();
        self.enter(reply, move |tree| {
            tree.set(newparent.0, &newname, ino.0)
                .ok_or(Errno::ENOENT)?;
            Ok(ino.0)
        });
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let name = name.to_owned();
        let make = move |tree: &mut Tree| {
            let node = make(tree, parent.0, &name, mode, false)?;
            attributes(tree, node)
        };
        self.0.answer(Class::Write, reply, make, |reply, attr| {
            reply.created(
                &TTL,
                &attr,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_KEEP_CACHE,
            );
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = move |tree: &mut Tree| {
            let data = data(tree, ino.0)?;
            let start = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(data.len());
            let end = start.saturating_add(size as usize).min(data.len());
            Ok(data[start..end].to_vec())
        };
        let class = Class::Contents {
            node: ino.0,
            end: offset + u64::from(size),
        };
        self.0
            .answer(class, reply, read, |reply, bytes| reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let bytes = bytes.to_vec();
        let write = move |tree: &mut Tree| {
            grow(tree, ino.0, offset + bytes.len() as u64)?;
            let start = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
            data(tree, ino.0)?[start..start + bytes.len()].copy_from_slice(&bytes);
            let node = tree.node_mut(ino.0).ok_or(Errno::ENOENT)?;
            (node.modified, node.changed) = (SystemTime::now(), SystemTime::now());
            u32::try_from(bytes.len()).map_err(|_| Errno::EFBIG)
        };
        self.0
            .answer(Class::Write, reply, write, ReplyWrite::written);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.change(reply, move |tree| {
            tree.sync(ino.0);
            Ok(())
        });
    }

    fn fsyncdir(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.fsync(request, ino, handle, datasync, reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let list = move |tree: &mut Tree| {
            let names = tree.names(ino.0).ok_or(Errno::ENOTDIR)?;
            let mut rest: Vec<_> = names
                .iter()
                .filter(|(_, entry)| entry.cookie > offset)
                .collect();
            rest.sort_by_key(|(_, entry)| entry.cookie);
            let kind = |node| {
                if tree.names(node).is_some() {
                    FileType::Directory
                } else {
                    FileType::RegularFile
                }
            };
            Ok(rest
                .into_iter()
                .map(|(name, entry)| (name.clone(), *entry, kind(entry.node)))
                .collect::<Vec<_>>())
        };
        let send = |mut reply: ReplyDirectory, rest: Vec<_>| {
            for (name, entry, kind) in rest {
                let entry: super::tree::Entry = entry;
                if reply.add(
                    INodeNo(entry.node),
                    entry.cookie,
                    kind,
                    std::ffi::OsString::as_os_str(&name),
                ) {
                    break;
                }
            }
            reply.ok();
        };
        self.look(reply, list, send);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let count = |tree: &mut Tree| {
            let block = u64::from(BLOCK_BYTES);
            Ok((
                tree.capacity_bytes / block,
                tree.capacity_bytes.saturating_sub(tree.used_bytes()) / block,
                tree.inodes(),
            ))
        };
        self.look(reply, count, |reply, (all, free, (files, free_files))| {
            reply.statfs(
                all,
                free,
                free,
                files,
                free_files,
                BLOCK_BYTES,
                255,
                BLOCK_BYTES,
            );
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: u64,
        length: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        self.change(reply, move |tree| {
            let free_bytes = tree.capacity_bytes.saturating_sub(tree.used_bytes());
            let here_bytes = data(tree, ino.0)?.len() as u64;
            if length.saturating_sub(here_bytes) > free_bytes {
                Err(Errno::ENOSPC)
            } else {
                Ok(())
            }
        });
    }
}

/// Makes a file or a folder, if there is an inode for it.
fn make(
    tree: &mut Tree,
    folder: u64,
    name: &OsStr,
    mode: u32,
    is_folder: bool,
) -> Result<u64, Errno> {
    if tree.is_out_of_inodes() {
        return Err(Errno::ENOSPC);
    }
    tree.make(folder, name, mode, is_folder)
        .ok_or(Errno::ENOENT)
}
