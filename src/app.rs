//! Wiring: which room gets which, in what order they start, and in what order they stop.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::{AdminService, AdminToken};
use crate::cache::{Cache, OpenMode};
use crate::config::{Config, LogConfig, LogFormat, LogLevel};
use crate::dns::Dns;
use crate::fetch::Fetcher;
use crate::gateway::{self, Gateway};
use crate::health;
use crate::http::{HttpConfig, HttpServer, HttpService, Listeners, Reports, Settings};
use crate::limits::AdmissionControl;
use crate::limits::divide_descriptors;
use crate::logging::{LogHealth, LogWriter, log_panics};
use crate::maintenance::Maintenance;
use crate::model::{ConfigError, EventSink};
use crate::notify::Notifier;
use crate::passthrough::PassThrough;
use crate::policy::Policy;
use crate::scrub::run_scrubs;
use crate::services::{FetchLimits, Services, ServicesError};

/// How long the end of the fetches may take once the answers have ended.
const LAST_FETCH_GRACE: Duration = Duration::from_millis(100);

/// How often clients are forgotten who have not asked for anything lately.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10);

/// How often `policy.checksums_file` is looked at.
const CHECKSUMS_INTERVAL: Duration = Duration::from_secs(1);

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The operator has to change something.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// As `Configuration`, or the cache folder cannot be used.
    #[error(transparent)]
    Services(#[from] ServicesError),
    /// The machine does not let it.
    #[error("{0}")]
    System(String),
}

/// Where the configuration came from, to read it again.
pub struct Reload {
    pub file: Option<PathBuf>,
    pub settings: Vec<String>,
}

/// What runs, in the order in which it stops.
struct Running {
    server: HttpServer,
    fetcher: Fetcher,
    dns: Option<Dns>,
    maintenance: Maintenance,
    notifier: Notifier,
    upkeep: JoinHandle<()>,
    cache: Cache,
}

/// What a new configuration reaches while the service runs.
struct Reloadable {
    policy: Arc<Policy>,
    gateway: Arc<Gateway>,
    service: Arc<HttpService>,
    config: Config,
}

/// Runs the service until a signal ends it.
///
/// # Errors
/// [`AppError`] if it cannot start.
pub async fn serve(config: Config, reload: Reload, log: LogHealth) -> Result<(), AppError> {
    let mut signals = Signals::catch().map_err(|why| AppError::System(why.to_string()))?;
    let grace = config.gateway.shutdown_grace.0;
    let (running, mut reloadable) = start(config, log).await?;
    while let SignalAction::Reload = signals.next().await {
        reloadable.reload(&reload);
    }
    tracing::info!(?grace, "stopping");
    reloadable.service.announce_stop();
    tokio::select! {
        () = stop(running, grace) => {}
        () = signals.second_stop() => tracing::warn!("leaving at once"),
    }
    Ok(())
}

async fn start(config: Config, log: LogHealth) -> Result<(Running, Reloadable), AppError> {
    let budget = divide_descriptors(config.fetch.concurrency);
    let listeners = Listeners::bind(&config.gateway.listen, &config.proxy.listen)
        .await
        .map_err(|error| AppError::System(error.to_string()))?;
    let name = instance_name(&config.gateway)?;
    let events = EventSink::new();
    let notifier = Notifier::start(&config.notify, &name, &events)?;
    let limits = FetchLimits {
        concurrency: budget.fetches,
        in_flight: budget.in_flight,
    };
    let services = build_services(&config, &name, limits, events).await?;
    let Services {
        events,
        policy,
        cache,
        dialer,
        origin,
        fetcher,
    } = &services;
    let token = AdminToken::find(&config.gateway)?;
    let admin = AdminService::new(
        Arc::clone(policy),
        cache.clone(),
        fetcher.clone(),
        events.clone(),
        token,
    );
    let relay = PassThrough::new(Arc::clone(origin), Arc::clone(policy), dialer.clone());
    let gateway = Gateway::new(
        Arc::clone(policy),
        cache.clone(),
        fetcher.clone(),
        relay,
        events.clone(),
        config.gateway.clone(),
        budget.upstream,
    );
    let gateway = Arc::new(gateway);
    let reports = Reports {
        incidents: notifier.incidents(),
        log,
    };
    let admission = AdmissionControl::new(budget.admission);
    let service = HttpService::new(
        Arc::clone(&gateway),
        admin,
        HttpConfig {
            name,
            proxy: config.proxy.clone(),
            settings: Settings::from_config(&config.gateway),
        },
        reports,
        admission,
    );
    let service = Arc::new(service);
    let publisher = config.dns.publisher()?;
    let maintenance = Maintenance::start(cache, config.cache.maintenance_interval.0);
    let (readiness, ready) = health::channel(cache);
    maintenance.spawn(health::watch(cache.clone(), readiness));
    let round = config.cache.scrub_interval.0;
    if !round.is_zero() {
        maintenance.spawn(run_scrubs(services.repair_sources(), round));
    }
    let dns = publisher.map(|publisher| Dns::start(publisher, ready));
    let server = HttpServer::start(listeners, &service, config.gateway.shutdown_grace.0)
        .map_err(|why| AppError::System(why.to_string()))?;
    let upkeep = tokio::spawn(maintain_policy(Arc::clone(policy)));
    let running = Running {
        server,
        dns,
        fetcher: fetcher.clone(),
        maintenance,
        notifier,
        upkeep,
        cache: cache.clone(),
    };
    let reloadable = Reloadable {
        policy: Arc::clone(policy),
        gateway,
        service,
        config,
    };
    Ok((running, reloadable))
}

/// The name in DNS first, so that clients go elsewhere; then the doors, so that nothing new begins;
/// the fetches; the care; the telling of what they came to; and the folder last.
async fn stop(running: Running, grace: Duration) {
    let Running {
        server,
        dns,
        fetcher,
        maintenance,
        notifier,
        upkeep,
        cache,
    } = running;
    if let Some(dns) = dns {
        dns.withdraw_and_stop(grace / 2).await;
    }
    let began = std::time::Instant::now();
    tokio::join!(server.stop(), fetcher.stop(grace));
    fetcher
        .stop(grace.saturating_sub(began.elapsed()).max(LAST_FETCH_GRACE))
        .await;
    maintenance.stop().await;
    notifier.stop().await;
    upkeep.abort();
    // It has nothing to say but that it was ended.
    drop(upkeep.await);
    cache.close().await;
    tracing::info!(in_flight = fetcher.in_flight(), "stopped");
}

async fn maintain_policy(policy: Arc<Policy>) {
    tokio::join!(
        // Keeps the memory of the limits to clients who were here lately.
        every(PRUNE_INTERVAL, &policy, Policy::prune_idle_clients),
        every(
            CHECKSUMS_INTERVAL,
            &policy,
            Policy::reload_checksum_file_if_changed
        ),
    );
}

/// Does something again and again, off the event loop.
async fn every(span: Duration, policy: &Arc<Policy>, work: fn(&Policy)) {
    let mut ticks = interval(span);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let policy = Arc::clone(policy);
        if let Err(error) = spawn_blocking(move || work(&policy)).await {
            tracing::warn!(%error, "what the policy remembers was not looked after");
        }
    }
}

async fn build_services(
    config: &Config,
    name: &str,
    limits: FetchLimits,
    events: EventSink,
) -> Result<Services, AppError> {
    let (config, name) = (config.clone(), name.to_owned());
    let build = move || Services::build(&config, &name, OpenMode::Serve, &limits, events);
    let services = spawn_blocking(build)
        .await
        .map_err(|panic| AppError::System(panic.to_string()))?;
    Ok(services?)
}

/// The configured name, or the host's with a random part that stays the same as long as the state
/// folder does.
fn instance_name(config: &gateway::Config) -> Result<String, AppError> {
    let id = read_or_make_id(&config.state_dir).map_err(|why| {
        let folder = config.state_dir.display();
        let reason = format!("the folder {folder} cannot be used: {why}");
        ConfigError::new("gateway.state_dir", reason)
    })?;
    if !config.name.is_empty() {
        return Ok(config.name.clone());
    }
    let host: String = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect();
    Ok(format!("{host}-{id}"))
}

fn read_or_make_id(state_dir: &Path) -> std::io::Result<String> {
    std::fs::create_dir_all(state_dir)?;
    let path = state_dir.join("instance_id");
    match std::fs::read_to_string(&path) {
        Ok(id)
            if !id.trim().is_empty() && id.trim().bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            return Ok(id.trim().to_owned());
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let id = format!("{:08x}", rand::random::<u32>());
    std::fs::write(path, format!("{id}\n"))?;
    Ok(id)
}

impl Reloadable {
    /// Reads the configuration again. A bad one changes nothing.
    fn reload(&mut self, reload: &Reload) {
        let config = match Config::load(
            reload.file.as_deref(),
            Config::environment(),
            &reload.settings,
        ) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "the configuration was not reloaded; the old one stays in force");
                return;
            }
        };
        if let Err(error) = self.policy.replace(
            config.policy.clone(),
            config.rules.clone(),
            &config.parents,
            config.limits.clone(),
        ) {
            tracing::error!(
                %error,
                "the configuration was not reloaded; the old one stays in force"
            );
            return;
        }
        if let Err(error) =
            AdminToken::find(&config.gateway).map(|token| self.service.replace_token(token))
        {
            tracing::error!(
                %error,
                "the token for operators was not reloaded; the old one stays in force"
            );
        }
        self.gateway.replace_config(config.gateway.clone());
        self.service.replace_settings(Settings::from_config(&config.gateway));
        let fixed = |config: &Config| {
            let gateway = &config.gateway;
            let of_gateway = (
                gateway.listen.clone(),
                gateway.name.clone(),
                gateway.state_dir.clone(),
                gateway.shutdown_grace,
            );
            let of_store = (config.cache.clone(), config.s3.clone());
            let of_modules = (
                config.proxy.clone(),
                of_store,
                config.fetch.clone(),
                config.notify.clone(),
                config.dns.clone(),
            );
            (of_gateway, of_modules, config.log.clone())
        };
        if fixed(&config) == fixed(&self.config) {
            tracing::info!("the configuration was reloaded");
        } else {
            tracing::warn!(
                "the configuration was reloaded; listen, name, state_dir, proxy, cache, s3, fetch, notify, dns and log need a restart"
            );
        }
    }
}

enum SignalAction {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Stop,
            _ = self.interrupt.recv() => SignalAction::Stop,
            _ = self.hang_up.recv() => SignalAction::Reload,
        }
    }

    async fn second_stop(&mut self) {
        while let SignalAction::Reload = self.next().await {}
    }
}

/// Starts the log on standard error. The HTTP libraries' own complaints about clients that leave
/// are not ours.
///
/// # Errors
/// If the system has no descriptor or no thread left.
pub fn start_log(config: &LogConfig) -> std::io::Result<LogWriter> {
    // A descriptor of its own, so that a blocked write does not hold the lock of the standard
    // library's standard error.
    let writer = LogWriter::start(File::from(std::io::stderr().as_fd().try_clone_to_owned()?))?;
    let level = match config.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let filter = format!("off,millpond={level}");
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer.sink())
        .log_internal_errors(false);
    match config.format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            log.with_target(false).with_ansi(is_terminal).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    log_panics();
    Ok(writer)
}
