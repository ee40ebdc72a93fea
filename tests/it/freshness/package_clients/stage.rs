//! The plot that all clients share: a release, an update, and the loss of the mirror. It knows a
//! package system by the trait [`PackageSystem`] only.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::mirror::{Mirror, Release};
use crate::harness::{
    Authority, Body, Builder, Gateway, Request, Tool, assert_same, can_replace_system_files,
    eventually, files_under, is_root,
};
use crate::intercept::harness::make_authority;

/// Mon, 01 Jan 2024 12:00:00 GMT, in seconds since 1970: between the two releases.
const NOON_SECS: u64 = 1_704_110_400;

/// Name of the gateway that stands for the URL of the mirror.
const HOST_NAME: &str = "packages.example.test";

/// Name of an intercepted mirror, which only Millpond can reach.
const INTERCEPTED_NAME: &str = "mirror.example.test";

/// Way from a client to the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Direct,
    /// The proxy port, named by `http_proxy`.
    Proxy,
    /// The URL of the mirror behind the gateway's own URL.
    UrlPrefix,
    /// A name of the gateway that stands for the URL of the mirror.
    HostName,
    /// The proxy port, named by `https_proxy`, which ends the TLS of the mirror's host.
    Intercepted,
    /// The same for a mirror with another name than `localhost`, for which some clients use no
    /// proxy. The port is that of https.
    InterceptedName,
}

impl Route {
    fn is_intercepted(self) -> bool {
        matches!(self, Self::Intercepted | Self::InterceptedName)
    }
}

/// A package system: its repository, and its client.
pub trait PackageSystem {
    /// Publishes the package `tiny` and the index. Indexes list earlier releases too.
    fn publish(&self, site: &Site, release: Release);

    /// Updates the index, downloads the newest release, and returns the file.
    fn download_newest(&self, machine: &Machine) -> Body;

    /// Downloads the first release by its version, or returns `None` if no client can ask so.
    fn download_first(&self, machine: &Machine) -> Option<Body>;

    /// Returns the path of the file of a release.
    fn package_path(&self, release: Release) -> String;

    /// Returns whether the file at this path changes with each release.
    fn is_index(&self, path: &str) -> bool;
}

/// A mirror, and the URL by which its clients know it.
pub struct Site {
    pub mirror: Mirror,
    pub base: String,
}

impl Site {
    /// Publishes a file at a path below the mirror's root.
    pub fn put(&self, path: &str, content: &[u8], release: Release) {
        self.mirror.put(path, content, release);
    }
}

/// A machine with a client and without any state of earlier downloads.
pub struct Machine {
    folder: TempDir,
    base: String,
    http_proxy: Option<String>,
    route: Route,
    interception: Option<Interception>,
}

/// Proxy of an intercepted mirror, and the certificate authority that the client trusts.
struct Interception {
    https_proxy: String,
    ca_file: String,
}

/// Variables by which programs find the certificate authorities that they trust.
const CA_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
];

impl Machine {
    fn new(site: &Site, route: Route, gateway: Option<&Gateway>) -> Self {
        let proxy = gateway.filter(|_| route == Route::Proxy);
        Self {
            folder: tempfile::tempdir().expect("a folder can be made"),
            base: site.base.clone(),
            http_proxy: proxy.map(|gateway| format!("http://{}", gateway.proxy_addr())),
            route,
            interception: None,
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> String {
        let path = self.folder().join(name);
        path.to_str().expect("the path is text").to_owned()
    }

    /// Returns the URL of a path of the mirror.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns a GET request for a path of the mirror.
    pub fn get(&self, path: &str) -> Request {
        let url = self.url(path);
        let via = self.http_proxy.as_deref().unwrap_or(&url);
        let (_, rest) = via.split_once("://").expect("the URL has a scheme");
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = match self.route {
            Route::HostName => authority.replace(HOST_NAME, "127.0.0.1"),
            _ => authority.to_owned(),
        };
        let address = address.parse().expect("the host is an address");
        match self.http_proxy {
            Some(_) => Request::new(address, "GET", &url),
            None => Request::new(address, "GET", &format!("/{path}")).header("Host", authority),
        }
    }

    /// Returns the URL of the proxy, if the route has one.
    pub fn http_proxy(&self) -> Option<&str> {
        self.http_proxy.as_deref()
    }

    /// Returns a program that uses the proxy of the route.
    pub fn tool(&self, program: &str, package: &'static str) -> Tool {
        if self.route == Route::HostName {
            self.write("hosts", &format!("127.0.0.1 localhost {HOST_NAME}\n"));
            return Tool::with_hosts_file(program, package, self.folder());
        }
        self.with_proxy(Tool::new(program, package, self.folder()))
    }

    /// Returns a program that requires root, or seems to run as root.
    pub fn root_tool(&self, program: &str, package: &'static str) -> Tool {
        if is_root() {
            return self.tool(program, package);
        }
        self.tool("fakeroot", "fakeroot").arg(program)
    }

    /// Returns the proxy of the route, if it is intercepted.
    pub fn https_proxy(&self) -> Option<&str> {
        let interception = self.interception.as_ref()?;
        Some(&interception.https_proxy)
    }

    /// Returns the file of the certificate authority to trust, if the route is intercepted.
    pub fn ca_file(&self) -> Option<&str> {
        let interception = self.interception.as_ref()?;
        Some(&interception.ca_file)
    }

    fn with_proxy(&self, mut tool: Tool) -> Tool {
        if let Some(interception) = &self.interception {
            for name in CA_VARIABLES {
                tool = tool.env(name, &interception.ca_file);
            }
            tool = tool.env("https_proxy", &interception.https_proxy);
        }
        match &self.http_proxy {
            Some(proxy) => tool.env("http_proxy", proxy),
            None => tool,
        }
    }

    pub fn write(&self, name: &str, content: &str) {
        let file = self.folder().join(name);
        let folder = file.parent().expect("a file has a folder");
        std::fs::create_dir_all(folder).expect("the folder can be made");
        std::fs::write(file, content).expect("the folder can be written");
    }

    /// Dates all files of the machine between the two releases.
    fn let_a_day_pass(&self) {
        let noon = UNIX_EPOCH + Duration::from_secs(NOON_SECS);
        for file in files_under(self.folder()) {
            let file = File::open(file).expect("the file can be opened");
            file.set_modified(noon).expect("a date can be set");
        }
    }

    /// Returns the content of the only file under a folder whose name ends so, and removes it.
    #[track_caller]
    pub fn take(&self, folder: &str, suffix: &str) -> Body {
        let mut files: Vec<PathBuf> = files_under(&self.folder().join(folder));
        files.retain(|file| file.to_string_lossy().ends_with(suffix));
        assert_eq!(files.len(), 1, "files *{suffix} in {folder}: {files:?}");
        let content = std::fs::read(&files[0]).expect("the file can be read");
        std::fs::remove_file(&files[0]).expect("the file can be removed");
        content.into()
    }
}

/// A running Millpond between a mirror and its clients.
pub struct Stage {
    pub site: Site,
    pub gateway: Gateway,
    route: Route,
    /// Folder of the certificate authority, if the route is intercepted.
    ca_folder: TempDir,
}

impl Stage {
    pub fn new(route: Route) -> Self {
        let authority = Authority::new();
        let mirror = if route.is_intercepted() {
            Mirror::start_tls(&authority)
        } else {
            Mirror::start()
        };
        let ca_folder = tempfile::tempdir().expect("a folder can be made");
        let builder = Gateway::builder()
            .origin(mirror.origin())
            .host(HOST_NAME, &mirror.url())
            .one_attempt()
            .authority(&authority);
        let gateway = if route.is_intercepted() {
            intercepting(builder, &mirror, ca_folder.path()).start()
        } else {
            builder.start()
        };
        let base = match route {
            Route::Direct | Route::Proxy | Route::Intercepted => mirror.url(),
            Route::UrlPrefix => gateway.rewritten(&mirror.url()),
            Route::HostName => format!("http://{HOST_NAME}:{}", gateway.addr().port()),
            Route::InterceptedName => format!("https://{INTERCEPTED_NAME}"),
        };
        let site = Site { mirror, base };
        Self {
            site,
            gateway,
            route,
            ca_folder,
        }
    }

    pub fn machine(&self) -> Machine {
        let mut machine = Machine::new(&self.site, self.route, Some(&self.gateway));
        if self.route.is_intercepted() {
            let ca_file = self.ca_folder.path().join("intercept-ca/ca.pem");
            machine.interception = Some(Interception {
                https_proxy: format!("http://{}", self.gateway.proxy_addr()),
                ca_file: ca_file.to_str().expect("the path is text").to_owned(),
            });
        }
        machine
    }

    /// Returns the target of a path of the mirror.
    pub fn target(&self, path: &str) -> String {
        format!("{}{path}", self.site.mirror.url())
    }

    /// Waits until a target is stored: it is a hit, or the origin confirms the stored response.
    #[track_caller]
    pub fn await_stored(&self, path: &str) {
        let target = self.target(path);
        eventually(&format!("{target} is stored"), || {
            let answer = self.gateway.proxied("GET", &target).send();
            let status = answer.wants("cache-status");
            let mut parts = status.split(';').map(str::trim);
            parts
                .any(|part| part == "hit" || part == "fwd-status=304")
                .then_some(())
        });
    }

    /// Asserts that a stored response is served while the mirror is away.
    #[track_caller]
    pub fn assert_served(&self, path: &str, body: &[u8], is_index: bool) {
        let target = self.target(path);
        let answer = match self.route {
            Route::UrlPrefix | Route::HostName => self.gateway.get(&target).send(),
            _ => self.gateway.proxied("GET", &target).send(),
        };
        answer.assert_body(200, body);
        answer.assert_cache(&["hit"]);
        let is_stale = answer.wants("cache-status").contains("detail=stale");
        assert_eq!(is_stale, is_index, "{path} is stale");
    }
}

/// Lets a gateway intercept both names of a mirror, with a certificate authority in a folder.
fn intercepting(builder: Builder, mirror: &Mirror, folder: &Path) -> Builder {
    let hosts = format!("[\"localhost\", \"{INTERCEPTED_NAME}\"]");
    let ca_dir = make_authority(folder, &hosts);
    let rule = format!(
        "host = \"{INTERCEPTED_NAME}\"\npath_prefix = \"/\"\ncanonical_url = \"{}/{{path}}\"",
        mirror.url()
    );
    builder
        .port(443)
        .rule(&rule)
        .set("intercept.hosts", &hosts)
        .text("intercept.ca_dir", ca_dir.to_str().expect("it is text"))
}

/// Runs a client through Millpond over an update, and then another one without the mirror.
#[track_caller]
pub fn follow_update(system: &impl PackageSystem, route: Route) {
    if route == Route::HostName && !can_replace_system_files() {
        eprintln!("skipped: only root can replace /etc/hosts");
        return;
    }
    let stage = Stage::new(route);
    update(system, &stage.site, &stage.machine());
    let mirror = &stage.site.mirror;
    let fetched = mirror.fetched();
    assert!(fetched.len() > 2, "indexes and packages were fetched");
    for (path, _) in &fetched {
        stage.await_stored(path);
    }
    let [first, second] = [Release::First, Release::Second].map(|release| {
        let file = mirror.file(&system.package_path(release));
        file.expect("the package is published")
    });
    stage.site.mirror.stop();
    let machine = stage.machine();
    assert_same(&system.download_newest(&machine), &second);
    if let Some(found) = system.download_first(&machine) {
        assert_same(&found, &first);
    }
    for (path, body) in &fetched {
        stage.assert_served(path, body, system.is_index(path));
    }
}

/// Runs a client without Millpond over an update: a fault here is one of the fixture.
#[track_caller]
pub fn follow_update_directly(system: &impl PackageSystem) {
    let mirror = Mirror::start();
    let base = mirror.url();
    let site = Site { mirror, base };
    let machine = Machine::new(&site, Route::Direct, None);
    update(system, &site, &machine);
    let fetched = site.mirror.fetched();
    let indexes = fetched.iter().filter(|(path, _)| system.is_index(path));
    assert!(indexes.count() > 0, "an index was fetched: {fetched:?}");
}

/// Publishes both releases, and asserts that the client gets the newest one each time.
#[track_caller]
fn update(system: &impl PackageSystem, site: &Site, machine: &Machine) {
    for release in [Release::First, Release::Second] {
        system.publish(site, release);
        let path = system.package_path(release);
        let expected = site.mirror.file(&path).expect("the package is published");
        assert_same(&system.download_newest(machine), &expected);
        machine.let_a_day_pass();
    }
    if let Some(first) = system.download_first(machine) {
        let path = system.package_path(Release::First);
        let expected = site.mirror.file(&path).expect("the package is published");
        assert_same(&first, &expected);
    }
}
