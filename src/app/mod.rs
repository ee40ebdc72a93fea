//! Wiring of the service: builds its parts, and starts and stops them in order.
//!
//! The main function is [`serve`].

mod error;
mod instance_name;
mod log;
mod logfmt;
mod policy_tasks;
mod reload;
mod service_manager;
mod signals;
mod start_jobs;
mod start_report;
mod summary;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::admin::{AdminService, AdminServices, Tokens};
use crate::cache::{Cache, OpenMode};
use crate::cluster::{NodeIdentity, run_shared_index};
use crate::config::Config;
use crate::disk::LAYOUT_VERSION;
use crate::dns::Dns;
use crate::events::EventRecorder;
use crate::fetch::Fetcher;
use crate::gateway::{Gateway, GatewayServices};
use crate::health;
use crate::http::{
    HttpConfig, HttpServer, HttpService, Listeners, OperatorServices, Reports, run_page,
};
use crate::intercept::Interceptor;
use crate::jobs::Jobs;
use crate::limits::{AdmissionControl, FdBudget, UpstreamLimits, divide_descriptors};
use crate::logging::LogHealth;
use crate::maintenance::Maintenance;
use crate::metrics::Facts;
use crate::migrate::{NodeCopier, NodePulls, RecordOffer};
use crate::model::EventSink;
use crate::notify::Notifier;
use crate::passthrough::PassThrough;
use crate::policy::Policy;
use crate::registry::ContainerImages;
use crate::scrub::{run_piece_hashing, run_scrubs};
use crate::services::{FetchLimits, Services};
use crate::ui::{HistoryFile, LiveFeed, LivePage};
use crate::users::DownloadUsers;
use instance_name::{Instance, instance_name};
use policy_tasks::run_policy_tasks;
use reload::{Reloadable, settings_of};
use service_manager::{ServiceManager, ServiceState};
use signals::{SignalAction, Signals};
use start_jobs::start_jobs;
use start_report::log_start;
use summary::TrafficSummary;

pub use error::AppError;
pub use log::{shows_colours, start_log};
pub use reload::Reload;

/// How long in-flight fetches may take after the last response has ended, even if the grace period
/// is over.
const LAST_FETCH_GRACE: Duration = Duration::from_millis(100);

/// How long the last writing of the traffic may take.
const LAST_SAVE_LIMIT: Duration = Duration::from_secs(2);

/// The running parts, in the order in which they stop.
struct Running {
    dns: Option<Dns>,
    page: JoinHandle<()>,
    live_page: LivePage,
    server: HttpServer,
    jobs: Arc<Jobs>,
    pulls: Arc<NodePulls>,
    fetcher: Fetcher,
    maintenance: Maintenance,
    notifier: Notifier,
    recorder: EventRecorder,
    policy_tasks: JoinHandle<()>,
    summary: Arc<TrafficSummary>,
    cache: Cache,
}

/// Runs the service until a signal stops it.
///
/// # Errors
/// [`AppError`] if the service cannot start.
pub async fn serve(config: Config, source: Reload, log: LogHealth) -> Result<(), AppError> {
    let mut signals = Signals::register().map_err(|error| AppError::System(error.to_string()))?;
    let manager = ServiceManager::connect();
    let grace = config.gateway.shutdown_grace.0;
    let (running, reloadable) = start(config, &source, log).await?;
    manager.report(ServiceState::Ready);
    while let SignalAction::Reload = signals.next().await {
        reloadable.reload(&source);
    }
    tracing::info!(?grace, "stopping");
    manager.report(ServiceState::Stopping);
    reloadable.service.announce_stop();
    tokio::select! {
        () = stop(running, grace) => {}
        () = signals.next_stop() => tracing::warn!("exiting at once after a second signal"),
    }
    Ok(())
}

async fn start(
    config: Config,
    source: &Reload,
    log: LogHealth,
) -> Result<(Running, Reloadable), AppError> {
    let interceptor = Interceptor::load(&config.intercept, &config.gateway.state_dir)?;
    let budget = divide_descriptors(config.fetch.concurrency);
    let listeners = bind_ports(&config).await?;
    let Instance { name, id } = instance_name(&config.gateway)?;
    let events = EventSink::new();
    let recorder = EventRecorder::start(&events);
    // The services may report incidents while they start.
    let (incidents, page_events) = (events.subscribe(), events.subscribe());
    let node = node_identity(&config, &name, id);
    let services = build_services(&config, node, &budget, events).await?;
    log_start(&config, source, &name, &budget, interceptor.as_ref());
    let notifier = Notifier::start(&config.notify, &name, incidents, &services.dialer)?;
    let facts = Arc::new(collect_facts(&services));
    let gateway = Arc::new(build_gateway(&config, &services, budget.upstream));
    let admin = Arc::new(build_admin(&config, &services, &gateway)?);
    let images = Arc::new(open_images(&config, &gateway)?);
    let (cluster, cache) = (&services.cluster, &services.cache);
    let pieces = services.fetcher.peer_pieces();
    let copier = Arc::new(NodeCopier::new(Arc::clone(cluster), cache.clone(), pieces));
    let jobs = start_jobs(&config, &admin, &images, &services, &copier).await?;
    let (live_page, page_feed) = open_page(&config, &facts).await?;
    let pulls = Arc::new(NodePulls::new(Arc::clone(cluster), copier, cache.clone()));
    let operator_services = OperatorServices {
        admin,
        jobs: Arc::clone(&jobs),
        incidents: notifier.incidents(),
        events: recorder.log(),
        offer: RecordOffer::new(cache.clone()),
        pulls: Arc::clone(&pulls),
    };
    let service = Arc::new(HttpService::new(
        (Arc::clone(&gateway), images, Arc::clone(&services.cluster)),
        operator_services,
        http_config(&config, name, interceptor)?,
        Reports::new(log, &facts, &live_page),
        AdmissionControl::new(budget.admission, &services.policy.client_share()),
    ));
    let (maintenance, dns) = start_background(&config, &services)?;
    let server = HttpServer::start(listeners, &service, config.gateway.shutdown_grace.0)
        .map_err(|error| AppError::System(error.to_string()))?;
    let summary = Arc::new(TrafficSummary::new(facts));
    let page = tokio::spawn(run_page(Arc::clone(&service), page_feed, page_events));
    let running = Running {
        dns,
        page,
        live_page,
        server,
        jobs,
        pulls,
        fetcher: services.fetcher,
        maintenance,
        notifier,
        recorder,
        policy_tasks: spawn_periodic(Arc::clone(&services.policy), Arc::clone(&summary)),
        summary,
        cache: services.cache,
    };
    let reloadable = Reloadable {
        policy: services.policy,
        gateway,
        service,
        started_with: config,
    };
    Ok((running, reloadable))
}

async fn bind_ports(config: &Config) -> Result<Listeners, AppError> {
    Listeners::bind(&config.gateway.listen, &config.proxy.listen)
        .await
        .map_err(|error| AppError::System(error.to_string()))
}

/// Returns the settings of the endpoints.
fn http_config(
    config: &Config,
    name: String,
    interceptor: Option<Interceptor>,
) -> Result<HttpConfig, AppError> {
    Ok(HttpConfig {
        name,
        proxy: config.proxy.clone(),
        interceptor: interceptor.map(Arc::new),
        settings: settings_of(config)?,
        users: DownloadUsers::load(&config.gateway.download_users_file)?,
    })
}

/// Returns the facts that this node states to its peers.
fn node_identity(config: &Config, name: &str, id: String) -> NodeIdentity {
    NodeIdentity {
        id,
        run: hex::encode(rand::random::<[u8; 16]>()),
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        layout: LAYOUT_VERSION,
        space_bytes: config.cache.max_size.bytes,
        folder: String::new(),
        bucket: String::new(),
    }
}

/// Builds the services on a thread for blocking work, since opening the cache folder blocks.
async fn build_services(
    config: &Config,
    node: NodeIdentity,
    budget: &FdBudget,
    events: EventSink,
) -> Result<Services, AppError> {
    let limits = FetchLimits {
        concurrency: budget.fetches,
        in_flight: budget.in_flight,
        dial: budget.dial,
        held_objects: budget.held_objects,
    };
    let config = config.clone();
    let build = move || Services::build(&config, node, OpenMode::Serve, &limits, events);
    let services = spawn_blocking(build)
        .await
        .map_err(|panic| AppError::System(panic.to_string()))?;
    Ok(services?)
}

/// Collects the counts of all modules.
fn collect_facts(services: &Services) -> Facts {
    let bucket = services.cache.bucket();
    Facts {
        requests: Arc::default(),
        fetches: Arc::clone(services.fetcher.counts()),
        origin: Arc::clone(services.origin.counts()),
        lookups: Arc::clone(services.dialer.lookup_counts()),
        bucket: bucket.map_or_else(Arc::default, |bucket| Arc::clone(bucket.counts())),
        events: Arc::clone(services.events.counts()),
    }
}

/// Starts the tasks of the policy, and the daily summary.
fn spawn_periodic(policy: Arc<Policy>, summary: Arc<TrafficSummary>) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::join!(run_policy_tasks(policy), summary.run());
    })
}

fn build_admin(
    config: &Config,
    services: &Services,
    gateway: &Arc<Gateway>,
) -> Result<AdminService, AppError> {
    let admin_services = AdminServices {
        gateway: Arc::clone(gateway),
        policy: Arc::clone(&services.policy),
        cache: services.cache.clone(),
        fetcher: services.fetcher.clone(),
        events: services.events.clone(),
    };
    let tokens = Tokens::load(&config.gateway)?;
    Ok(AdminService::new(admin_services, tokens))
}

fn build_gateway(config: &Config, services: &Services, max_upstream: usize) -> Gateway {
    let passthrough = PassThrough::new(
        Arc::clone(&services.origin),
        Arc::clone(&services.policy),
        services.dialer.clone(),
    );
    let gateway_services = GatewayServices {
        policy: Arc::clone(&services.policy),
        cache: services.cache.clone(),
        fetcher: services.fetcher.clone(),
        cluster: Arc::clone(&services.cluster),
        passthrough,
        events: services.events.clone(),
        upstream: UpstreamLimits::new(max_upstream, &services.policy.client_share()),
    };
    Gateway::new(gateway_services, config.gateway.clone())
}

fn open_images(config: &Config, gateway: &Arc<Gateway>) -> Result<ContainerImages, AppError> {
    let (gateway, state_dir) = (Arc::clone(gateway), &config.gateway.state_dir);
    let registries = config.registry_table()?;
    Ok(ContainerImages::new(gateway, state_dir, registries))
}

/// Creates the page on a thread for blocking work, since the traffic of earlier processes is read.
async fn open_page(config: &Config, facts: &Arc<Facts>) -> Result<(LivePage, LiveFeed), AppError> {
    let (file, facts) = (
        HistoryFile::new(&config.gateway.state_dir),
        Arc::clone(facts),
    );
    spawn_blocking(move || LivePage::new(facts, file))
        .await
        .map_err(|panic| AppError::System(panic.to_string()))
}

/// Starts maintenance, health checks, scrubs, polls of the peers, the exchange with the shared
/// index, and the DNS publisher if it is configured.
fn start_background(
    config: &Config,
    services: &Services,
) -> Result<(Maintenance, Option<Dns>), AppError> {
    let publisher = config.dns.publisher()?;
    let cache = &services.cache;
    let maintenance = Maintenance::start(cache, config.cache.maintenance_interval.0);
    let (readiness, ready) = health::channel(cache);
    maintenance.spawn(health::watch(cache.clone(), readiness));
    let interval = config.cache.maintenance_interval.0;
    maintenance.spawn(run_piece_hashing(cache.clone(), interval));
    let scrub_interval = config.cache.scrub_interval.0;
    if !scrub_interval.is_zero() {
        maintenance.spawn(run_scrubs(services.repair_sources(), scrub_interval));
    }
    let cluster = Arc::clone(&services.cluster);
    maintenance.spawn(async move { cluster.run().await });
    let (cluster, events) = (Arc::clone(&services.cluster), services.events.subscribe());
    maintenance.spawn(async move { run_shared_index(&cluster, events).await });
    let dns = publisher.map(|publisher| Dns::start(publisher, ready));
    Ok((maintenance, dns))
}

/// Stops all parts in order.
///
/// 1. DNS records are withdrawn, so that clients use other nodes.
/// 2. Jobs and copies for peers stop. Jobs go on after the next start. The ports close, and
///    responses and fetches end within `grace`.
/// 3. The last summary is logged, maintenance stops, and the last notifications are sent.
/// 4. The cache closes.
async fn stop(running: Running, grace: Duration) {
    let Running {
        dns,
        page,
        live_page,
        server,
        jobs,
        pulls,
        fetcher,
        maintenance,
        notifier,
        recorder,
        policy_tasks,
        summary,
        cache,
    } = running;
    if let Some(dns) = dns {
        dns.withdraw_and_stop(grace / 2).await;
    }
    let began = Instant::now();
    // Their followers hold responses open.
    page.abort();
    // The result only says that the task was aborted.
    drop(page.await);
    recorder.stop().await;
    tokio::join!(jobs.stop(), pulls.stop());
    tokio::join!(server.stop(), fetcher.stop(grace));
    fetcher
        .stop(grace.saturating_sub(began.elapsed()).max(LAST_FETCH_GRACE))
        .await;
    summary.write();
    // A disk that hangs must not keep the process.
    drop(
        timeout(
            LAST_SAVE_LIMIT,
            spawn_blocking(move || live_page.save_history()),
        )
        .await,
    );
    maintenance.stop().await;
    notifier.stop().await;
    policy_tasks.abort();
    // The result only says that the task was aborted.
    drop(policy_tasks.await);
    cache.close().await;
    tracing::info!(in_flight = fetcher.in_flight(), "stopped");
}
