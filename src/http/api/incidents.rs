//! `GET /api/v1/incidents`: the recent incidents. Readers may see them, since they name the targets
//! of other clients.

use serde::Serialize;
use utoipa::ToSchema;

use super::query::Query;
use super::response::{ApiResponse, ok};
use super::values::Moment;
use crate::admin::{AdminError, ListReader};
use crate::notify::{Incident, IncidentState, Incidents, Severity};

/// The incidents.
#[derive(Serialize, ToSchema)]
pub struct IncidentList {
    /// The one seen last first.
    incidents: Vec<IncidentEntry>,
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
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeverityName {
    /// Listed only.
    Notice,
    /// Listed, and sent through all notification channels.
    Alert,
}

/// State of an incident.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncidentStateName {
    Open,
    /// The failure is over.
    Recovered,
    /// There was no event for so long that the outcome is unknown.
    Expired,
}

/// Lists the incidents, the one seen last first
#[utoipa::path(
    get, path = "/api/v1/incidents", operation_id = "listIncidents", tag = "incidents",
    responses((status = 200, description = "The incidents", body = IncidentList)),
    security(("reader" = []), ("operator" = [])),
)]
pub fn list(
    incidents: &Incidents,
    _: &ListReader,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let incidents = incidents.newest_first();
    ok(&IncidentList {
        incidents: incidents.into_iter().map(Into::into).collect(),
    })
}

impl From<Incident> for IncidentEntry {
    fn from(incident: Incident) -> Self {
        Self {
            id: incident.id,
            cause: incident.cause.as_str(),
            severity: match incident.severity {
                Severity::Notice => SeverityName::Notice,
                Severity::Alert => SeverityName::Alert,
            },
            host: incident.host,
            state: match incident.state {
                IncidentState::Open => IncidentStateName::Open,
                IncidentState::Recovered => IncidentStateName::Recovered,
                IncidentState::Expired => IncidentStateName::Expired,
            },
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
