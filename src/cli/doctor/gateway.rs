//! Checks of a gateway by its answers: readiness, clock, and the nginx in front of it.
//!
//! The main function is [`check`].

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, SERVER};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::finding::{Finding, READINESS};
use crate::model::{root_cause, sanitize_line};

/// How long the gateway may take. A slower one is not usable.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest part of a page that is read, in bytes. The pages of a gateway are shorter.
const MAX_PAGE_BYTES: usize = 16 * 1024;

/// Largest difference of two clocks. Signatures of buckets and lifetimes of responses allow more.
const MAX_CLOCK_SKEW: Duration = Duration::from_mins(1);

/// Page of the gateway.
struct Page {
    status: StatusCode,
    lines: Vec<String>,
    date: Option<SystemTime>,
    is_from_nginx: bool,
}

/// Asks the gateway at `url`. The first finding is its readiness.
pub async fn check(url: &str) -> Vec<Finding> {
    // Proxies of the environment are for downloads, and must not answer in place of the gateway.
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
    match client {
        Ok(client) => ask(&client, url).await,
        Err(error) => vec![not_ready(url, &cause_of(&error), "reinstall the program")],
    }
}

async fn ask(client: &Client, url: &str) -> Vec<Finding> {
    let page = match get(client, &format!("{url}/readyz")).await {
        Ok(page) => page,
        Err(error) => {
            let advice = "check that it runs, and that its port is reachable";
            return vec![not_ready(url, &cause_of(&error), advice)];
        }
    };
    if page.status != StatusCode::OK {
        let reason = page.lines.first().filter(|line| !line.is_empty());
        let reason = reason.map_or_else(|| page.status.to_string(), Clone::clone);
        return vec![not_ready(url, &reason, "see its log")];
    }
    let mut findings = vec![Finding::ok(READINESS, format!("{url} is ready"))];
    // The first line states that the gateway is ready.
    let warnings = page.lines.iter().skip(1);
    findings.extend(warnings.map(|line| Finding::warning(READINESS, line.clone(), "see its log")));
    findings.extend(page.date.and_then(clock_finding));
    if let Some(stats) = stats(client, url).await {
        findings.extend(alerts_finding(&stats));
        if page.is_from_nginx {
            findings.extend(nginx_finding(&stats));
        }
    }
    findings
}

fn not_ready(url: &str, reason: &str, advice: &str) -> Finding {
    Finding::failed(READINESS, format!("{url} is not ready: {reason}"), advice)
}

/// Compares the gateway's clock with the one of this machine. Both may be wrong.
fn clock_finding(date: SystemTime) -> Option<Finding> {
    let now = SystemTime::now();
    let skew = now
        .duration_since(date)
        .unwrap_or_else(|error| error.duration());
    (skew > MAX_CLOCK_SKEW).then(|| {
        Finding::warning(
            "clock",
            format!(
                "the clocks of the gateway and of this machine differ by {} s",
                skew.as_secs()
            ),
            "set both by a time service (NTP)",
        )
    })
}

/// Returns the summary of the gateway. One that clients may not read is none.
async fn stats(client: &Client, url: &str) -> Option<Value> {
    let page = get(client, &format!("{url}/api/v1/stats")).await.ok()?;
    serde_json::from_str(page.lines.first()?).ok()
}

/// Reports open alerts, which name upstream hosts that fail.
fn alerts_finding(stats: &Value) -> Option<Finding> {
    let alerts = stats["incidents"]["alerts"]
        .as_u64()
        .filter(|alerts| *alerts > 0)?;
    let plural = if alerts == 1 { "" } else { "s" };
    let text = format!("{alerts} alert{plural} of the gateway");
    Some(Finding::warning(
        "incidents",
        text,
        "`millpond incidents` lists them",
    ))
}

/// Checks that Millpond trusts the nginx in front of it.
fn nginx_finding(stats: &Value) -> Option<Finding> {
    let client = stats["request"]["client"].as_str()?;
    Some(match stats["request"]["frontend"].as_str()? {
        "nginx" => Finding::ok(
            "nginx",
            format!("nginx in front is trusted; you are {client}"),
        ),
        _ => Finding::failed(
            "nginx",
            format!("nginx in front is not trusted, so that every client is {client}"),
            "add its address to gateway.trusted_proxies, and use the files in nginx/",
        ),
    })
}

/// Requests a page. Its lines have no control characters.
async fn get(client: &Client, url: &str) -> Result<Page, reqwest::Error> {
    let mut response = client.get(url).send().await?;
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_PAGE_BYTES {
            break;
        }
    }
    let lines = String::from_utf8_lossy(&text)
        .lines()
        .map(sanitize_line)
        .collect();
    let field = |name| response.headers().get(name)?.to_str().ok();
    Ok(Page {
        status: response.status(),
        date: field(DATE).and_then(|date| httpdate::parse_http_date(date).ok()),
        is_from_nginx: field(SERVER).is_some_and(|server| server.starts_with("nginx")),
        lines,
    })
}

fn cause_of(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    root_cause(error)
}
