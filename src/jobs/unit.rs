//! One unit of the work of a job. The main type is [`WorkUnit`].

use crate::model::WantedFile;

/// One unit of the work of a job.
#[derive(Debug, Clone, Copy)]
pub enum WorkUnit<'a> {
    Target(&'a WantedFile),
    /// The objects or records whose digests or keys begin with this byte.
    Part(u8),
}
