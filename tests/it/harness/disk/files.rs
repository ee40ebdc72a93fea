//! Attributes and contents of the files of the tree.

use fuser::{Errno, FileAttr, FileType, INodeNo};

use super::ops::BLOCK_BYTES;
use super::tree::{Kind, Node, Tree};

pub(super) fn attributes(tree: &Tree, number: u64) -> Result<FileAttr, Errno> {
    let Node {
        kind,
        mode,
        links,
        modified,
        changed,
    } = tree.node(number).ok_or(Errno::ENOENT)?;
    let size = tree.node(number).map_or(0, Node::size_bytes);
    let is_folder = matches!(kind, Kind::Folder { .. });
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: *modified,
        mtime: *modified,
        ctime: *changed,
        crtime: *changed,
        kind: if is_folder {
            FileType::Directory
        } else {
            FileType::RegularFile
        },
        perm: (*mode & 0o7777) as u16,
        nlink: if is_folder { 2 } else { *links },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    })
}

pub(super) fn data(tree: &mut Tree, number: u64) -> Result<&mut Vec<u8>, Errno> {
    match tree.node_mut(number).map(|node| &mut node.kind) {
        Some(Kind::File { data, .. }) => Ok(data),
        Some(Kind::Folder { .. }) => Err(Errno::EISDIR),
        None => Err(Errno::ENOENT),
    }
}

/// Extends a file to `end` if there is enough free space.
pub(super) fn grow(tree: &mut Tree, number: u64, end: u64) -> Result<(), Errno> {
    let free_bytes = tree.capacity_bytes.saturating_sub(tree.used_bytes());
    let data = data(tree, number)?;
    if end.saturating_sub(data.len() as u64) > free_bytes {
        return Err(Errno::ENOSPC);
    }
    let end = usize::try_from(end).map_err(|_| Errno::EFBIG)?;
    if data.len() < end {
        data.resize(end, 0);
    }
    Ok(())
}
