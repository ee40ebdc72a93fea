//! The whole story of a target: policy, records, stored responses, and actions.
//!
//! The main type is [`TargetStory`].

use maud::{Markup, html};

use super::shown;
use crate::cache::RecordStatus;
use crate::freshness::{Completeness, Observation};
use crate::model::{Record, Sha256, Standing, Target};
use crate::policy::Explanation;

/// Everything that is known about a target.
pub struct TargetStory {
    pub target: Target,
    pub explanation: Explanation,
    /// Digest that the checksum file requires.
    pub required: Option<Sha256>,
    /// Those that answer first.
    pub records: Vec<RecordStatus>,
    /// Newest first.
    pub observations: Vec<Observation>,
}

impl TargetStory {
    /// Renders the story with the actions that an operator has.
    #[must_use]
    pub fn render(&self) -> String {
        let markup = html! {
            article {
                h3.url { bdi { (shown::visible(&self.target.redacted())) } }
                (self.policy())
                (self.target_actions())
                @if self.records.is_empty() && self.observations.is_empty() {
                    p { "Nothing is stored under this URL." }
                }
                @if !self.records.is_empty() { (self.record_table()) }
                @if !self.observations.is_empty() { (self.observation_table()) }
            }
        };
        markup.into_string()
    }

    fn policy(&self) -> Markup {
        let explanation = &self.explanation;
        let classified = &explanation.classified;
        html! {
            dl {
                dt { "Class" }
                dd { (classified.class()) ", because of " (classified.reason().to_string()) }
                @if explanation.stored_as != self.target {
                    dt { "Stored as" }
                    dd.url { bdi { (shown::visible(&explanation.stored_as.redacted())) } }
                }
                @if let Some(denied) = &explanation.denied {
                    dt { "Denied" }
                    dd.bad { (shown::visible(&denied.to_string())) }
                }
                @if !explanation.rules.is_empty() {
                    dt { "Rules" }
                    dd {
                        @for rule in &explanation.rules {
                            "rule " (rule.number) " (" (rule.settings.join(", ")) ") "
                        }
                    }
                }
                @if let Some(required) = &self.required {
                    dt { "Required SHA-256" }
                    dd { code { (required) } }
                }
            }
        }
    }

    fn target_actions(&self) -> Markup {
        let url = self.target.as_str();
        let is_pinned = self.records.iter().any(|record| record.pinned_at.is_some());
        html! {
            p.actions.operate {
                button type="button" data-act="refresh" data-url=(url) { "Refresh" }
                button type="button" data-act="refresh-accept" data-url=(url) {
                    "Refresh and accept"
                }
                @if is_pinned {
                    button type="button" data-act="unpin" data-url=(url) { "Unpin" }
                }
                @if !self.records.is_empty() || !self.observations.is_empty() {
                    button type="button" data-act="remove" data-url=(url) { "Remove" }
                }
                label.file { "Import a file "
                    input type="file" data-act="import" data-url=(url);
                }
            }
        }
    }

    fn record_table(&self) -> Markup {
        html! {
            h4 { "Records" }
            div.scroll {
                table {
                    thead { tr {
                        th { "SHA-256" } th.number { "Size" } th { "State" } th { "First seen" }
                        th { "Last used" } th { "Source" } th.operate { "Actions" }
                    } }
                    tbody { @for status in &self.records { (self.record_row(status)) } }
                }
            }
        }
    }

    fn record_row(&self, status: &RecordStatus) -> Markup {
        let (record, url) = (&status.record, self.target.as_str());
        let sha256 = record.sha256.to_string();
        html! {
            tr {
                td { code.whole { (sha256) } (other_digests(record)) }
                td.number { (shown::bytes(record.size_bytes)) }
                td.text { (record_state(status)) }
                td { (shown::time(record.first_seen)) }
                td { (shown::time_if_any(status.last_used)) }
                td.url { bdi { (shown::visible(&record.source)) } }
                td.operate {
                    button type="button" data-act="pin" data-url=(url) data-sha256=(sha256) {
                        "Pin"
                    }
                    @if status.is_cached {
                        button type="button" data-act="evict" data-url=(url) data-sha256=(sha256) {
                            "Evict"
                        }
                    }
                }
            }
        }
    }

    fn observation_table(&self) -> Markup {
        html! {
            h4 { "Stored responses" }
            div.scroll {
                table {
                    thead { tr {
                        th { "SHA-256" } th.number { "Size" } th { "Status" } th { "Received" }
                        th { "Source" } th { "Earlier digests" }
                    } }
                    tbody {
                        @for observation in &self.observations { (observation_row(observation)) }
                    }
                }
            }
        }
    }
}

fn record_state(status: &RecordStatus) -> Markup {
    html! {
        @if status.is_active { span.badge.good { "answers" } " " }
        @if let Some(pinned_at) = status.pinned_at {
            span.badge { "pinned " (shown::time(pinned_at)) } " "
        }
        @if status.record.standing == Standing::Witnessed { span.badge { "not accepted" } " " }
        @if status.is_cached { "on the disk" } @else { "not on the disk" }
        @if let Some(generation) = status.record.generation { ", generation " (generation) }
    }
}

fn other_digests(record: &Record) -> Markup {
    html! {
        @if !record.digests.is_empty() {
            details {
                summary { "Other digests" }
                @for (algorithm, hex) in &record.digests {
                    p { (algorithm.as_str()) " " code.whole { (hex) } }
                }
            }
        }
    }
}

fn observation_row(observation: &Observation) -> Markup {
    html! {
        tr {
            td { code.whole { (observation.sha256) } }
            td.number { (shown::bytes(observation.size_bytes)) }
            td {
                (observation.status)
                @if observation.completeness == Completeness::Unconfirmed { ", end unconfirmed" }
                @if observation.is_invalidated { ", must be validated" }
            }
            td { (shown::time(observation.received_at)) }
            td.url { bdi { (shown::visible(&observation.source)) } }
            td {
                @if observation.history.is_empty() { "none" } @else {
                    details {
                        summary { (observation.history.len()) }
                        @for earlier in &observation.history { p { code.whole { (earlier) } } }
                    }
                }
            }
        }
    }
}
