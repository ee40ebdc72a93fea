//! Jobs as operators see them: identity, order and facts.
//!
//! This file reads no disk and starts no task. Its main type is [`JobView`].

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::error::JobError;
use super::progress::Progress;
use crate::migrate::{NodeSelection, ReceivingNode};
use crate::model::WantedFile;
use crate::registry::{ImageName, Platform};

/// Bound on the targets of one job.
pub const MAX_TARGETS: usize = 100_000;

/// Bound on the targets that one job works on at the same time.
pub const MAX_CONCURRENCY: usize = 64;

/// Bound on the platforms of images that one job is for.
const MAX_PLATFORMS: usize = 50;

/// Bound on the hosts that one job is for.
const MAX_HOSTS: usize = 100;

/// Parts of a job without targets: one for each first byte of a digest or a key.
pub const PARTS: usize = 256;

/// Digits of an identity: 12 of the time in milliseconds, 4 of a random number.
const ID_DIGITS: usize = 16;

/// Error returned for a text that is no identity of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the identity of a job has {ID_DIGITS} digits of 0-9 and a-f")]
pub struct InvalidJobId;

/// Identity of a job. Later jobs have greater ones, apart from changes of the clock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(String);

impl JobId {
    /// Returns the identity of a job that is created at `now`.
    #[must_use]
    pub fn new(now: SystemTime, random: u16) -> Self {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH);
        let millis = since_epoch.unwrap_or_default().as_millis();
        Self(format!("{millis:012x}{random:04x}"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == ID_DIGITS && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidJobId)
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Work on each target or part of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Targets that are not stored are fetched.
    Fetch,
    /// Targets are fetched again. Changed bytes are stored beside those that answer.
    Refresh,
    /// Objects are evicted. Their records stay.
    Evict,
    /// Objects are read, and corrupt ones are repaired. Without targets, all objects are read.
    Scrub,
    /// Records and objects are copied to the disk or to the bucket. Without targets, all are.
    /// Copies to the disk come from the bucket, or from another node. Other nodes copy, too.
    Migrate,
}

impl JobKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Fetch,
        Self::Refresh,
        Self::Evict,
        Self::Scrub,
        Self::Migrate,
    ];

    /// Returns whether a job without targets works on all stored files.
    #[must_use]
    pub fn can_work_on_all(self) -> bool {
        matches!(self, Self::Scrub | Self::Migrate)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Refresh => "refresh",
            Self::Evict => "evict",
            Self::Scrub => "scrub",
            Self::Migrate => "migrate",
        }
    }
}

/// Destination of a job of kind `migrate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobDestination {
    Disk,
    Bucket,
    /// The next owner of each target, among the other nodes that are ready.
    Owners,
    /// One named node, which copies what it lacks.
    Node,
}

/// Copy between this node and others.
#[derive(Debug, Clone, Copy)]
pub enum NodeTransfer<'a> {
    From(&'a NodeSelection),
    ToOwners,
    To(&'a ReceivingNode),
}

impl<'a> NodeTransfer<'a> {
    /// Returns the copy that a job makes. `None` if it takes place within this node.
    fn new(
        to: Option<JobDestination>,
        from: Option<&'a NodeSelection>,
        node: Option<&'a ReceivingNode>,
    ) -> Option<Self> {
        match (from, node) {
            (Some(from), _) => Some(Self::From(from)),
            (None, Some(node)) => Some(Self::To(node)),
            (None, None) => (to == Some(JobDestination::Owners)).then_some(Self::ToOwners),
        }
    }
}

impl JobDestination {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Bucket => "bucket",
            Self::Owners => "owners",
            Self::Node => "node",
        }
    }
}

/// Order for a job, checked.
#[derive(Debug)]
pub struct JobOrder {
    kind: JobKind,
    pub(super) files: Vec<WantedFile>,
    concurrency: usize,
    pub(super) to: Option<JobDestination>,
    /// Platforms of images. Empty: all.
    platforms: Vec<Platform>,
    from: Option<NodeSelection>,
    node: Option<ReceivingNode>,
}

impl JobOrder {
    /// Returns the facts of a job that is created from the order.
    pub(super) fn spec(&self, created_at: SystemTime) -> JobSpec {
        JobSpec {
            kind: self.kind,
            targets: match self.files.len() {
                0 => PARTS,
                count => count,
            },
            concurrency: self.concurrency,
            created_at,
            to: self.to,
            platforms: self.platforms.clone(),
            from: self.from.clone(),
            node: self.node.clone(),
        }
    }

    /// Returns the copy between nodes that the job makes.
    pub(super) fn transfer(&self) -> Option<NodeTransfer<'_>> {
        NodeTransfer::new(self.to, self.from.as_ref(), self.node.as_ref())
    }

    /// Checks an order. `to` is the destination of a job of kind `migrate`.
    ///
    /// # Errors
    /// [`JobError::Invalid`] if there is no target and the job cannot work on all, a number is out
    /// of bounds, or the destination is missing or superfluous.
    pub fn new(
        kind: JobKind,
        files: Vec<WantedFile>,
        concurrency: usize,
        to: Option<JobDestination>,
    ) -> Result<Self, JobError> {
        if to.is_some() != (kind == JobKind::Migrate) {
            let text = "a job of kind migrate, and no other, has the field to: disk, bucket, \
                        owners or node";
            return Err(JobError::Invalid(text.to_owned()));
        }
        let files = WantedFile::merge(files);
        if files.is_empty() && !kind.can_work_on_all() {
            return Err(JobError::Invalid("the job has no target".to_owned()));
        }
        if files.len() > MAX_TARGETS {
            let text = format!("a job has at most {MAX_TARGETS} targets");
            return Err(JobError::Invalid(text));
        }
        if !(1..=MAX_CONCURRENCY).contains(&concurrency) {
            let text = format!("concurrency must be from 1 to {MAX_CONCURRENCY}");
            return Err(JobError::Invalid(text));
        }
        check_images(kind, &files)?;
        Ok(Self {
            kind,
            files,
            concurrency,
            to,
            platforms: Vec::new(),
            from: None,
            node: None,
        })
    }

    /// Has the order copy from another node, in place of the bucket.
    ///
    /// # Errors
    /// [`JobError::Invalid`] if its destination is not the disk, or there are too many hosts.
    pub fn from_node(self, from: Option<NodeSelection>) -> Result<Self, JobError> {
        let Some(from) = from else { return Ok(self) };
        if self.to != Some(JobDestination::Disk) {
            let text = "only a job of kind migrate to disk has the field from";
            return Err(JobError::Invalid(text.to_owned()));
        }
        let hosts = lowercase(&from.hosts)?;
        let from = Some(NodeSelection { hosts, ..from });
        Ok(Self { from, ..self })
    }

    /// Names the node that copies, if the destination is one.
    ///
    /// # Errors
    /// [`JobError::Invalid`] if the node is missing or superfluous, or there are too many hosts.
    pub fn to_node(self, node: Option<ReceivingNode>) -> Result<Self, JobError> {
        if node.is_some() != (self.to == Some(JobDestination::Node)) {
            let text = "a job of kind migrate to node, and no other, has the field node";
            return Err(JobError::Invalid(text.to_owned()));
        }
        let Some(node) = node else { return Ok(self) };
        let hosts = lowercase(&node.hosts)?;
        let node = Some(ReceivingNode { hosts, ..node });
        Ok(Self { node, ..self })
    }

    /// Limits the images of the order to some platforms. Empty: all.
    ///
    /// # Errors
    /// [`JobError::Invalid`] if the order has no image, or there are too many platforms.
    pub fn for_platforms(self, platforms: Vec<Platform>) -> Result<Self, JobError> {
        let has_image = self.files.iter().any(|file| file.url.is_image());
        if !platforms.is_empty() && !has_image {
            let text = "platforms are for container images: docker://HOST/NAME:TAG";
            return Err(JobError::Invalid(text.to_owned()));
        }
        if platforms.len() > MAX_PLATFORMS {
            let text = format!("a job has at most {MAX_PLATFORMS} platforms");
            return Err(JobError::Invalid(text));
        }
        Ok(Self { platforms, ..self })
    }
}

/// Returns the hosts that a job is for, in lower case.
fn lowercase(hosts: &[String]) -> Result<Vec<String>, JobError> {
    if hosts.len() > MAX_HOSTS {
        let text = format!("a job has at most {MAX_HOSTS} hosts");
        return Err(JobError::Invalid(text));
    }
    Ok(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
}

/// Checks the names of images, which only a fetch takes.
fn check_images(kind: JobKind, files: &[WantedFile]) -> Result<(), JobError> {
    for file in files.iter().filter(|file| file.url.is_image()) {
        let parsed = file.url.as_str().parse::<ImageName>();
        let reason = match parsed {
            Err(error) => error.to_string(),
            Ok(_) if kind != JobKind::Fetch => "only a fetch takes images".to_owned(),
            Ok(_) => continue,
        };
        return Err(JobError::Invalid(format!("{}: {reason}", file.url)));
    }
    Ok(())
}

/// Facts of a job that never change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobSpec {
    pub kind: JobKind,
    /// Number of targets, or of parts in a job that works on all.
    pub targets: usize,
    pub concurrency: usize,
    pub created_at: SystemTime,
    /// Destination of a job of kind `migrate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<JobDestination>,
    /// Platforms of images. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
    /// Node that a job of kind `migrate` copies from, and targets there. `None`: the other tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NodeSelection>,
    /// Node that copies, in a job of kind `migrate` to `node`, and the targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ReceivingNode>,
}

impl JobSpec {
    /// Returns the copy between nodes that the job makes.
    pub(super) fn transfer(&self) -> Option<NodeTransfer<'_>> {
        NodeTransfer::new(self.to, self.from.as_ref(), self.node.as_ref())
    }
}

/// A job at one time, as operators see it and as it is read from its files.
#[derive(Debug, Clone)]
pub struct JobView {
    pub id: JobId,
    pub spec: JobSpec,
    pub progress: Progress,
}
