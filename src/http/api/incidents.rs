//! `GET /api/v1/incidents`: the recent incidents. Readers may see them, since they name the targets
//! of other clients.

use std::cmp::Reverse;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::list_part::part_of;
use super::query::Query;
use super::response::{ApiResponse, ok};
use super::values::Moment;
use crate::admin::{AdminError, ListReader};
use crate::gateway::RequestError;
use crate::model::Cause;
use crate::notify::{Incident, IncidentState, Incidents, Severity};

/// Bound on the incidents of one page.
const MAX_PAGE_LENGTH: usize = 1000;

/// One page of the list of incidents.
#[derive(Serialize, ToSchema)]
pub struct IncidentList {
    incidents: Vec<IncidentEntry>,
    /// Number of all incidents that meet the filters.
    total: usize,
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
}

/// Failures of one cause at one host, or at this instance itself.
#[derive(Serialize, ToSchema)]
pub struct IncidentEntry {
    /// 16 hexadecimal digits.
    id: String,
    #[schema(example = "content_changed")]
    cause: &'static str,
    severity: SeverityName,
    /// Host of the origin. Null if this instance itself fails.
    host: Option<String>,
    state: IncidentStateName,
    /// Number of failures.
    count: u64,
    first_seen: Moment,
    last_seen: Moment,
    /// Time of the last alert.
    alerted: Option<Moment>,
    ended: Option<Moment>,
    /// Some of the targets, without secrets, the newest last.
    targets: Vec<String>,
    /// Error text of the newest failure.
    detail: String,
}

/// Importance of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeverityName {
    /// Listed only.
    Notice,
    /// Listed, and sent through all notification channels.
    Alert,
}

/// State of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncidentStateName {
    Open,
    /// The failure is over.
    Recovered,
    /// There was no event for so long that the outcome is unknown.
    Expired,
}

/// Order of the list of incidents. A minus sign means descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub enum IncidentSort {
    #[serde(rename = "last_seen")]
    LastSeen,
    #[serde(rename = "-last_seen")]
    LastSeenDescending,
    #[serde(rename = "count")]
    Count,
    #[serde(rename = "-count")]
    CountDescending,
}

/// Filter, order and part of the list of incidents.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IncidentQuery {
    /// Only incidents of this host
    host: Option<String>,
    /// Only incidents of this cause
    cause: Option<String>,
    severity: Option<SeverityName>,
    state: Option<IncidentStateName>,
    /// Only incidents that were seen last before this number of seconds
    #[param(rename = "older_than", value_type = Option<u64>, maximum = 3_155_760_000_u64)]
    seen_before: Option<SystemTime>,
    /// Only incidents that were seen last within this number of seconds
    #[param(rename = "newer_than", value_type = Option<u64>, maximum = 3_155_760_000_u64)]
    seen_since: Option<SystemTime>,
    /// Order, which is `-last_seen` unless it is stated
    sort: Option<IncidentSort>,
    /// Only incidents behind this one, which is `next` of the page before
    #[param(pattern = "^[0-9a-f]{16}$")]
    after: Option<String>,
    /// Number of incidents on a page
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000)]
    limit: usize,
}

/// Lists the incidents, one page at a time
#[utoipa::path(
    get, path = "/api/v1/incidents", operation_id = "listIncidents", tag = "incidents",
    params(IncidentQuery),
    responses((status = 200, description = "A page of the list", body = IncidentList)),
    security(("reader" = []), ("operator" = [])),
)]
pub fn list(
    incidents: &Incidents,
    _: &ListReader,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let wanted = IncidentQuery::take(query)?;
    let mut incidents = incidents.newest_first();
    incidents.retain(|incident| wanted.accepts(incident));
    match wanted.sort {
        // The order in which they come.
        None | Some(IncidentSort::LastSeenDescending) => {}
        Some(IncidentSort::LastSeen) => incidents.reverse(),
        Some(IncidentSort::Count) => incidents.sort_by_key(|incident| incident.count),
        Some(IncidentSort::CountDescending) => {
            incidents.sort_by_key(|incident| Reverse(incident.count));
        }
    }
    let part = part_of(
        incidents,
        wanted.after.as_deref(),
        wanted.limit,
        |incident| &incident.id,
    )?;
    ok(&IncidentList {
        incidents: part.entries.into_iter().map(Into::into).collect(),
        total: part.total,
        next: part.next,
    })
}

impl IncidentQuery {
    fn take(mut query: Query<'_>) -> Result<Self, RequestError> {
        let now = SystemTime::now();
        let cause = query.text("cause")?;
        if let Some(cause) = &cause
            && !Cause::ALL.iter().any(|known| known.as_str() == cause)
        {
            let known = Cause::ALL.map(Cause::as_str).join(", ");
            return Err(RequestError::BadRequest(format!(
                "cause must be one of {known}"
            )));
        }
        let wanted = Self {
            host: query.host()?,
            cause,
            severity: query.choice("severity")?,
            state: query.choice("state")?,
            seen_before: query.time_before("older_than", now)?,
            seen_since: query.time_before("newer_than", now)?,
            sort: query.choice("sort")?,
            after: query.text("after")?,
            limit: query.limit(MAX_PAGE_LENGTH)?,
        };
        query.finish()?;
        Ok(wanted)
    }

    fn accepts(&self, incident: &Incident) -> bool {
        let has_host = |host: &String| incident.host.as_ref() == Some(host);
        let has_cause = |cause: &String| incident.cause.as_str() == cause;
        self.host.as_ref().is_none_or(has_host)
            && self.cause.as_ref().is_none_or(has_cause)
            && self
                .severity
                .is_none_or(|wanted| wanted == incident.severity.into())
            && self
                .state
                .is_none_or(|wanted| wanted == incident.state.into())
            && self
                .seen_before
                .is_none_or(|time| incident.last_seen < time)
            && self
                .seen_since
                .is_none_or(|time| incident.last_seen >= time)
    }
}

impl From<Severity> for SeverityName {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Notice => Self::Notice,
            Severity::Alert => Self::Alert,
        }
    }
}

impl From<IncidentState> for IncidentStateName {
    fn from(state: IncidentState) -> Self {
        match state {
            IncidentState::Open => Self::Open,
            IncidentState::Recovered => Self::Recovered,
            IncidentState::Expired => Self::Expired,
        }
    }
}

impl From<Incident> for IncidentEntry {
    fn from(incident: Incident) -> Self {
        Self {
            id: incident.id,
            cause: incident.cause.as_str(),
            severity: incident.severity.into(),
            host: incident.host,
            state: incident.state.into(),
            count: incident.count,
            first_seen: incident.first_seen.into(),
            last_seen: incident.last_seen.into(),
            alerted: incident.alerted.map(Into::into),
            ended: incident.ended.map(Into::into),
            targets: incident.targets,
            detail: incident.detail,
        }
    }
}
