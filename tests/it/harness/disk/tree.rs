//! An in-memory file system that tracks synced data, so that a power cut can be simulated.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

pub const ROOT: u64 = 1;

/// Target of a directory entry, and the cookie after which a listing continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub node: u64,
    pub cookie: u64,
}

type Names = BTreeMap<OsString, Entry>;

/// An unsynced change of a folder.
#[derive(Debug, Clone)]
pub enum Change {
    Set(OsString, Entry),
    Remove(OsString),
}

#[derive(Debug, Clone)]
pub enum Kind {
    File {
        data: Vec<u8>,
        /// Contents at the last sync.
        synced: Vec<u8>,
    },
    Folder {
        names: Names,
        synced: Names,
        since: Vec<Change>,
    },
}

#[derive(Debug, Clone)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub links: u32,
    pub modified: SystemTime,
    pub changed: SystemTime,
}

#[derive(Debug)]
pub struct Tree {
    nodes: HashMap<u64, Node>,
    next: u64,
    pub capacity_bytes: u64,
    /// Number of inodes, if it is limited.
    pub inodes: Option<u64>,
}

impl Node {
    fn new(kind: Kind, mode: u32) -> Self {
        let now = SystemTime::now();
        Self {
            kind,
            mode,
            links: 0,
            modified: now,
            changed: now,
        }
    }

    fn folder(mode: u32) -> Self {
        Self::new(
            Kind::Folder {
                names: Names::new(),
                synced: Names::new(),
                since: Vec::new(),
            },
            mode,
        )
    }

    pub fn size_bytes(&self) -> u64 {
        match &self.kind {
            Kind::File { data, .. } => data.len() as u64,
            Kind::Folder { .. } => 0,
        }
    }
}

impl Tree {
    pub fn new(capacity_bytes: u64) -> Self {
        Self {
            nodes: HashMap::from([(ROOT, Node::folder(0o755))]),
            next: ROOT + 1,
            capacity_bytes,
            inodes: None,
        }
    }

    /// Returns the number of inodes and of free ones, or zeros without a limit.
    pub fn inodes(&self) -> (u64, u64) {
        let used = self.nodes.values().filter(|node| node.links > 0).count() as u64;
        self.inodes
            .map_or((0, 0), |all| (all, all.saturating_sub(used)))
    }

    /// Returns whether no file can be made for want of an inode.
    pub fn is_out_of_inodes(&self) -> bool {
        self.inodes.is_some() && self.inodes().1 == 0
    }

    pub fn node(&self, node: u64) -> Option<&Node> {
        self.nodes.get(&node)
    }

    pub fn node_mut(&mut self, node: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&node)
    }

    pub fn used_bytes(&self) -> u64 {
        self.nodes
            .values()
            .filter(|node| node.links > 0)
            .map(Node::size_bytes)
            .sum()
    }

    pub fn names(&self, folder: u64) -> Option<&Names> {
        match &self.node(folder)?.kind {
            Kind::Folder { names, .. } => Some(names),
            Kind::File { .. } => None,
        }
    }

    pub fn find(&self, folder: u64, name: &OsStr) -> Option<u64> {
        Some(self.names(folder)?.get(name)?.node)
    }

    pub fn make(&mut self, folder: u64, name: &OsStr, mode: u32, is_folder: bool) -> Option<u64> {
        let node = if is_folder {
            Node::folder(mode)
        } else {
            Node::new(
                Kind::File {
                    data: Vec::new(),
                    synced: Vec::new(),
                },
                mode,
            )
        };
        let number = self.number();
        self.nodes.insert(number, node);
        self.set(folder, name, number)?;
        Some(number)
    }

    /// Points a name to a node, and replaces a previous entry.
    pub fn set(&mut self, folder: u64, name: &OsStr, node: u64) -> Option<()> {
        self.remove(folder, name);
        let entry = Entry {
            node,
            cookie: self.number(),
        };
        self.change(folder, Change::Set(name.to_owned(), entry))?;
        self.count(node, 1);
        Some(())
    }

    /// Removes a name. An open file stays readable.
    pub fn remove(&mut self, folder: u64, name: &OsStr) -> Option<()> {
        let node = self.find(folder, name)?;
        self.change(folder, Change::Remove(name.to_owned()))?;
        self.count(node, -1);
        Some(())
    }

    fn change(&mut self, folder: u64, change: Change) -> Option<()> {
        let Kind::Folder { names, since, .. } = &mut self.nodes.get_mut(&folder)?.kind else {
            return None;
        };
        apply(names, &change);
        since.push(change);
        Some(())
    }

    fn count(&mut self, node: u64, by: i32) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.links = node.links.saturating_add_signed(by);
            node.changed = SystemTime::now();
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Makes the current contents survive a power cut.
    pub fn sync(&mut self, node: u64) {
        match self.nodes.get_mut(&node).map(|node| &mut node.kind) {
            Some(Kind::File { data, synced }) => synced.clone_from(data),
            Some(Kind::Folder {
                names,
                synced,
                since,
            }) => {
                synced.clone_from(names);
                since.clear();
            }
            None => {}
        }
    }

    /// Returns the tree after a power cut: all synced data, and the unsynced changes that `dice`
    /// selects. A folder keeps the first of its changes and loses the rest. An unsynced file has
    /// its old bytes, its new ones, or zeros in place of the new ones. A journal would lose less.
    pub fn cut_power(&self, mut dice: impl FnMut(u64) -> u64) -> Self {
        let mut left = Self {
            nodes: HashMap::new(),
            next: self.next,
            capacity_bytes: self.capacity_bytes,
            inodes: self.inodes,
        };
        let mut to_do = vec![ROOT];
        while let Some(number) = to_do.pop() {
            if left.nodes.contains_key(&number) {
                continue;
            }
            let mut node = self.nodes[&number].clone();
            match &mut node.kind {
                Kind::File { data, synced } => {
                    if data != synced {
                        *data = torn(data, synced, dice(3));
                        synced.clone_from(data);
                    }
                }
                Kind::Folder {
                    names,
                    synced,
                    since,
                } => {
                    let kept =
                        usize::try_from(dice(since.len() as u64 + 1)).expect("the number fits");
                    since[..kept]
                        .iter()
                        .for_each(|change| apply(synced, change));
                    since.clear();
                    names.clone_from(synced);
                    to_do.extend(names.values().map(|entry| entry.node));
                }
            }
            node.links = 0;
            left.nodes.insert(number, node);
        }
        let named: Vec<u64> = left
            .nodes
            .keys()
            .filter_map(|node| left.names(*node))
            .flat_map(BTreeMap::values)
            .map(|entry| entry.node)
            .collect();
        for node in named {
            left.count(node, 1);
        }
        left
    }
}

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Set(name, entry) => drop(names.insert(name.clone(), *entry)),
        Change::Remove(name) => drop(names.remove(name)),
    }
}

fn torn(data: &[u8], synced: &[u8], how: u64) -> Vec<u8> {
    match how {
        0 => synced.to_vec(),
        1 => data.to_vec(),
        _ => {
            let mut zeros = synced.to_vec();
            zeros.resize(data.len(), 0);
            zeros
        }
    }
}
