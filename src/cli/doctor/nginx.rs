//! Checks of nginx in front of this machine's Millpond: its version, and its settings against the
//! configuration.
//!
//! nginx itself reads its files (`nginx -T`). The main function is [`check`].

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::bounded::{ProgramOutput, output_of};
use super::finding::Finding;
use super::nginx_file::NginxDirectives;
use crate::config::Config;
use crate::model::sanitize_line;

/// How long `nginx -T` may take. It looks up the names of its upstreams.
const NGINX_TIMEOUT: Duration = Duration::from_secs(5);

/// Oldest version that knows all directives of the files in `nginx/` (`proxy_half_close`).
const OLDEST_VERSION: [u32; 3] = [1, 21, 4];

/// Settings of the files in `nginx/` without which targets, limits or streaming go wrong.
const SETTINGS: [&[&str]; 5] = [
    &["merge_slashes", "off"],
    &["proxy_buffering", "off"],
    &["proxy_request_buffering", "off"],
    REQUEST_LINE,
    &["proxy_set_header", "X-Forwarded-For", "$remote_addr"],
];

/// Field that only an nginx before Millpond sends.
const REQUEST_LINE: &[&str] = &["proxy_set_header", "X-Millpond-Request-Line", "$request"];

const USE_SHIPPED: &str = "use the files in nginx/";
const SETTINGS_CHECK: &str = "nginx_settings";

/// Checks nginx, if the configuration trusts one or `file` names its configuration.
pub async fn check(config: &Config, file: Option<&Path>) -> Vec<Finding> {
    let trusts = !config.gateway.trusted_proxies.is_empty();
    if !trusts && file.is_none() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if trusts && config.gateway.accel_redirect.is_empty() {
        findings.push(Finding::warning(
            SETTINGS_CHECK,
            "nginx in front does not send stored files itself",
            "set gateway.accel_redirect to the location of nginx/http.conf",
        ));
    }
    if !trusts {
        findings.push(Finding::failed(
            SETTINGS_CHECK,
            "gateway.trusted_proxies is empty, so that every client is nginx",
            "add the address of nginx",
        ));
    }
    let program = program();
    let mut print = Command::new(&program);
    print.arg("-T");
    if let Some(file) = file {
        print.arg("-c").arg(file);
    }
    let mut version = Command::new(&program);
    version.arg("-v");
    match output_of(version, NGINX_TIMEOUT).await {
        Ok(output) => findings.extend(version_finding(&output.stderr)),
        Err(error) if error.kind() == ErrorKind::NotFound && file.is_none() => {
            let text = "nginx is not installed on this machine, so that its settings are unknown";
            findings.push(Finding::ok("nginx_version", text));
            return findings;
        }
        Err(error) => findings.push(not_run(&program, &error)),
    }
    match output_of(print, NGINX_TIMEOUT).await {
        Ok(output) if output.succeeded => {
            let nginx = NginxDirectives::parse(&output.stdout);
            if file.is_none() && !nginx.has(REQUEST_LINE) {
                let text = "the nginx of this machine does not use the files in nginx/";
                let advice = "name the configuration of the one before Millpond with --nginx FILE";
                findings.push(Finding::warning(SETTINGS_CHECK, text, advice));
            } else {
                findings.extend(settings_findings(config, &nginx));
            }
        }
        Ok(output) => findings.push(refused(&output)),
        Err(error) => findings.push(not_run(&program, &error)),
    }
    findings
}

/// Returns the system's nginx. The `PATH` of an ordinary user often lacks `sbin`.
fn program() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
    let mut files = folders.map(|folder| folder.join("nginx"));
    files
        .find(|file| file.is_file())
        .unwrap_or_else(|| "nginx".into())
}

fn not_run(program: &Path, error: &std::io::Error) -> Finding {
    let text = match error.kind() {
        ErrorKind::TimedOut => format!("no answer within {} s", NGINX_TIMEOUT.as_secs()),
        _ => error.to_string(),
    };
    let text = format!("{}: {text}", program.display());
    Finding::failed(
        SETTINGS_CHECK,
        text,
        "install nginx, or run doctor where it is",
    )
}

/// Returns the finding for a configuration that nginx does not accept or read.
fn refused(output: &ProgramOutput) -> Finding {
    let line = output.stderr.lines().find(|line| line.contains("[emerg]"));
    let text = line
        .or_else(|| output.stderr.lines().last())
        .unwrap_or_default();
    let text = sanitize_line(text.trim_start_matches("nginx: ").trim());
    if text.contains("(13: Permission denied)") {
        let text = format!("this user cannot read all files of nginx: {text}");
        return Finding::warning(SETTINGS_CHECK, text, "run doctor as root");
    }
    let text = format!("nginx does not accept its configuration: {text}");
    Finding::failed(
        SETTINGS_CHECK,
        text,
        "correct the file; `nginx -t` checks it again",
    )
}

/// Judges the output of `nginx -v`, such as `nginx version: nginx/1.22.1`.
fn version_finding(text: &str) -> Option<Finding> {
    let version = text.split("nginx/").nth(1)?;
    let version: String = version
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let numbers: [u32; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    let text = format!("nginx {version}");
    Some(if numbers < OLDEST_VERSION {
        let oldest = OLDEST_VERSION.map(|number| number.to_string()).join(".");
        let advice = format!("install {oldest} or later, which the files in nginx/ need");
        Finding::failed("nginx_version", format!("{text} is too old"), advice)
    } else {
        Finding::ok("nginx_version", text)
    })
}

/// Compares the settings with the configuration.
fn settings_findings(config: &Config, nginx: &NginxDirectives) -> Vec<Finding> {
    let mut findings: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| !nginx.has(setting))
        .map(|setting| {
            let text = format!("nginx has no `{}`", setting.join(" "));
            Finding::failed(SETTINGS_CHECK, text, USE_SHIPPED)
        })
        .collect();
    findings.extend(upstream_finding(
        nginx,
        "gateway.listen",
        &config.gateway.listen,
    ));
    findings.extend(proxy_finding(config, nginx));
    findings.extend(objects_finding(config, nginx));
    if findings.is_empty() {
        findings.push(Finding::ok(SETTINGS_CHECK, "the settings of nginx fit"));
    }
    findings
}

/// Checks that an upstream has the port of a key. The address may be another one, as in containers.
fn upstream_finding(nginx: &NginxDirectives, key: &str, listen: &str) -> Option<Finding> {
    let (_, port) = listen.rsplit_once(':')?;
    let has_port = nginx.all("server").any(|arguments| {
        let address = arguments
            .first()
            .and_then(|address| address.rsplit_once(':'));
        address.is_some_and(|(_, own)| own == port)
    });
    (!has_port).then(|| {
        let text = format!("no upstream of nginx has port {port} of {key}");
        Finding::failed(
            SETTINGS_CHECK,
            text,
            "correct the files in nginx/upstreams/",
        )
    })
}

/// Checks the proxy port: it is optional in nginx, and both agree about the PROXY header.
fn proxy_finding(config: &Config, nginx: &NginxDirectives) -> Option<Finding> {
    let proxy = &config.proxy;
    let has_upstream = upstream_finding(nginx, "proxy.listen", &proxy.listen).is_none();
    if proxy.listen.is_empty() || !has_upstream {
        return None;
    }
    let sends = nginx.has(&["proxy_protocol", "on"]);
    (sends != proxy.proxy_protocol).then(|| {
        let text = if sends {
            "nginx sends the PROXY header, and proxy.proxy_protocol is false"
        } else {
            "proxy.proxy_protocol is true, and nginx sends no PROXY header"
        };
        let advice = "set proxy.proxy_protocol = true, and use nginx/stream.conf";
        Finding::failed(SETTINGS_CHECK, text, advice)
    })
}

/// Checks the location from which nginx sends objects.
fn objects_finding(config: &Config, nginx: &NginxDirectives) -> Option<Finding> {
    let location = config.gateway.accel_redirect.as_str();
    if location.is_empty() {
        return None;
    }
    let Some(aliases) = nginx.inside(&["location", location], "alias") else {
        let text = format!("nginx has no location {location} (gateway.accel_redirect)");
        return Some(Finding::failed(SETTINGS_CHECK, text, USE_SHIPPED));
    };
    let objects = std::path::absolute(config.cache.dir.join("objects")).ok()?;
    let alias = aliases.first().and_then(|arguments| arguments.first())?;
    if Path::new(alias) != objects.as_path() {
        let text = format!(
            "nginx sends objects from {}, and they are in {}",
            sanitize_line(alias),
            objects.display()
        );
        let advice = format!("correct alias in location {location}");
        return Some(Finding::failed(SETTINGS_CHECK, text, advice));
    }
    let user = nginx.all("user").next()?;
    let name = user.first()?;
    let group = user.get(1).unwrap_or(name);
    super::group_access::finding(&objects, name, group)
}
