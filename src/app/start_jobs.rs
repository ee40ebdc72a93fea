//! Starts the jobs of operators with all that their work uses.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::AppError;
use crate::admin::AdminService;
use crate::config::Config;
use crate::jobs::{Jobs, NodeCopiers, Worker};
use crate::migrate::{NodeCopier, NodeGiver, OwnerCopier};
use crate::registry::{ContainerImages, ImagePreheater};
use crate::scrub::ObjectScrubber;
use crate::services::Services;

/// Starts the jobs on a thread for blocking work, since their files are read.
pub async fn start_jobs(
    config: &Config,
    admin: &Arc<AdminService>,
    images: &Arc<ContainerImages>,
    services: &Services,
    copier: &Arc<NodeCopier>,
) -> Result<Arc<Jobs>, AppError> {
    let scrubber = ObjectScrubber::new(services.repair_sources());
    let preheater = ImagePreheater::new(Arc::clone(images));
    let (state_dir, admin) = (config.gateway.state_dir.clone(), Arc::clone(admin));
    let (cluster, cache) = (&services.cluster, &services.cache);
    let nodes = NodeCopiers {
        from: Arc::clone(copier),
        to_owners: OwnerCopier::new(Arc::clone(cluster), cache.clone()),
        to: NodeGiver::new(Arc::clone(cluster), cache.clone()),
    };
    let worker = Worker::new(admin, scrubber, preheater, nodes);
    spawn_blocking(move || Arc::new(Jobs::start(&state_dir, worker)))
        .await
        .map_err(|panic| AppError::System(panic.to_string()))
}
