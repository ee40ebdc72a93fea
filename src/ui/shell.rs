//! The page without its state: headings, forms, and places for the blocks.
//!
//! It is the same for all and names no target, so that it needs no token. The main function is
//! [`render_shell`].

use maud::{DOCTYPE, Markup, html};

/// State that needs no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicStatus {
    Ready,
    NotReady,
}

impl PublicStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not ready",
        }
    }
}

/// Title of a block and the identity of its place.
struct BlockPlace {
    id: &'static str,
    title: &'static str,
    class: &'static str,
}

const fn place(id: &'static str, title: &'static str, class: &'static str) -> BlockPlace {
    BlockPlace { id, title, class }
}

/// Blocks before the search, in the order of their importance.
const BEFORE_SEARCH: [BlockPlace; 10] = [
    place("readiness", "Readiness", "half"),
    place("incidents", "Incidents", "half"),
    place("hits", "Hit ratio", "half"),
    place("traffic", "Bytes served and fetched", "half"),
    place("fetches", "Running fetches", "whole"),
    place("failures", "Failures and circuits", "whole"),
    place("disk", "Disk", "half"),
    place("bucket", "Bucket", "half"),
    place("changed", "Changed targets", "whole"),
    place("mismatches", "Wrong file types and digests", "whole"),
];

const AFTER_SEARCH: [BlockPlace; 3] = [
    place("images", "Container images", "whole"),
    place("costs", "Hosts and clients", "whole"),
    place("nodes", "Nodes", "whole"),
];

/// Renders the page.
#[must_use]
pub fn render_shell(status: PublicStatus) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Millpond" }
                link rel="icon" href="icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="uplot.css";
                link rel="stylesheet" href="page.css";
                script src="uplot.js" defer {}
                script src="page.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    h1 { "Millpond" }
                    p id="public-status" class=(status_class(status)) {
                        (status.as_str()) ", version " (version)
                    }
                    p id="connection" role="status" {}
                    p { a href="docs/" { "Documentation" } }
                    button id="sign-out" type="button" hidden { "Sign out" }
                }
                noscript {
                    p.note {
                        "This page needs its script. The commands, the API and the "
                        a href="docs/" { "documentation" } " do not."
                    }
                }
                main id="main" {
                    (sign_in())
                    div id="operators" hidden { (operators()) }
                }
                footer {
                    a href="docs/" { "Documentation" } " · "
                    a href="docs/operations/page" { "Help for this page" } " · "
                    a href="api/" { "API" }
                }
                p id="notice" role="status" aria-live="polite" hidden {}
                (confirmation())
            }
        }
    };
    markup.into_string()
}

fn status_class(status: PublicStatus) -> &'static str {
    match status {
        PublicStatus::Ready => "badge good",
        PublicStatus::NotReady => "badge bad",
    }
}

fn sign_in() -> Markup {
    html! {
        form id="sign-in" {
            h2 { "Token" }
            p { "A reader token shows the state. The operator token also allows changes." }
            label for="token" { "Token" }
            input id="token" name="token" type="password" autocomplete="current-password"
                required minlength="16" spellcheck="false";
            button type="submit" { "Show" }
            p id="sign-in-error" class="bad" role="alert" {}
        }
    }
}

fn operators() -> Markup {
    html! {
        nav aria-label="Blocks" {
            @for place in &BEFORE_SEARCH { a href={ "#" (place.id) } { (place.title) } }
            a href="#search" { "Search" }
            @for place in &AFTER_SEARCH { a href={ "#" (place.id) } { (place.title) } }
            a href="#jobs" { "Jobs" }
        }
        div.grid {
            @for place in &BEFORE_SEARCH { (section(place)) }
            (search())
            @for place in &AFTER_SEARCH { (section(place)) }
            (jobs())
        }
    }
}

fn section(place: &BlockPlace) -> Markup {
    html! {
        section id=(place.id) class=(place.class) aria-labelledby={ (place.id) "-title" } {
            h2 id={ (place.id) "-title" } { (place.title) }
            @if place.id == "hits" { (periods()) }
            div.block data-block=(place.id) { p.note { "Waiting for the first data." } }
            @if place.id == "hits" { div.chart id="chart-hits" {} }
            @if place.id == "traffic" { div.chart id="chart-bytes" {} }
        }
    }
}

fn periods() -> Markup {
    html! {
        fieldset.periods {
            legend { "Period of the charts" }
            @for (name, label) in [("1h", "1 hour"), ("24h", "24 hours"), ("30d", "30 days")] {
                label {
                    input type="radio" name="period" value=(name) checked[name == "1h"];
                    (label)
                }
            }
        }
    }
}

fn search() -> Markup {
    html! {
        section id="search" class="whole" aria-labelledby="search-title" {
            h2 id="search-title" { "Search" }
            form id="search-form" role="search" {
                label for="query" { "URL, part of a name, or SHA-256" }
                input id="query" name="query" type="search" autocomplete="off" spellcheck="false";
                button type="submit" { "Search" }
            }
            div id="found" aria-live="polite" {}
            div id="story" tabindex="-1" {}
        }
    }
}

fn jobs() -> Markup {
    html! {
        section id="jobs" class="whole" aria-labelledby="jobs-title" {
            h2 id="jobs-title" { "Jobs" }
            details.operate id="job-order" {
                summary { "New job" }
                form id="job-form" {
                    label for="job-kind" { "Work" }
                    select id="job-kind" name="kind" {
                        option value="fetch" { "fetch what is not stored" }
                        option value="refresh" { "fetch again" }
                        option value="evict" { "evict the objects" }
                        option value="scrub" { "scrub: read, and repair corrupt objects" }
                        option value="migrate disk" { "copy from the bucket to the disk" }
                        option value="migrate bucket" { "copy from the disk to the bucket" }
                    }
                    label for="job-input" { "Text" }
                    select id="job-input" name="input" {
                        option value="list" { "list: one URL, or digest and URL, a line" }
                        option value="spec" { "spec file of RPM: all sources and patches" }
                        option value="lockfile" { "lock file, or list with digests" }
                        option value="sbom" { "SPDX or CycloneDX document" }
                    }
                    label for="job-list" {
                        "Paste the text. A fetch takes all kinds, other work a list. A scrub or a \
                         copy without a list works on all objects."
                    }
                    textarea id="job-list" name="list" rows="5" required spellcheck="false" {}
                    label for="job-registries" {
                        "Base URLs of registries whose URLs the text does not contain, such as "
                        "cargo=URL"
                    }
                    input id="job-registries" name="registries" type="text" autocomplete="off"
                        spellcheck="false";
                    label for="job-concurrency" { "Targets at the same time" }
                    input id="job-concurrency" name="concurrency" type="number" min="1" max="64"
                        value="4";
                    button type="submit" { "Start" }
                }
            }
            p.lines id="job-notes" aria-live="polite" {}
            div.block data-block="jobs" { p.note { "Waiting for the first data." } }
        }
    }
}

fn confirmation() -> Markup {
    html! {
        dialog id="confirm" aria-labelledby="confirm-title" {
            form method="dialog" {
                h2 id="confirm-title" {}
                p id="confirm-effect" {}
                p.url id="confirm-target" {}
                menu {
                    button type="submit" value="cancel" { "Cancel" }
                    button id="confirm-yes" type="submit" value="yes" class="primary" { "Yes" }
                }
            }
        }
    }
}
