//! THE request path: admit, look up, answer.
//!
//! Whatever the door, a request for a target comes here as an [`Ask`] and leaves as an [`Answer`], which the HTTP room only
//! renders. This room knows no server. Its main type is [`Gateway`].

mod answer;
mod ask;
mod config;
mod custody;
mod object;
mod problem;
mod rewrite;
mod select;
mod stated;
mod stored;
mod token;
mod upstream;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::OwnedSemaphorePermit;

pub use crate::relay::{OriginError, Passed, Tunnel, TunnelEnd, forwardable};
pub use answer::{Answer, CacheStatus, Content, Representation, Source};
pub use ask::{Ask, Delivery, Door, HttpVersion, Intent};
pub use config::{Config, Miss, check_address};
pub use custody::{Custody, Upload};
pub use object::ObjectAsk;
pub use problem::Problem;
pub use rewrite::{Rewrite, RewriteError};
pub use select::{Conditions, Selection};
pub use token::{AdminToken, Operator};

use crate::cache::{Cache, DiskHealth, Hit, TargetLookup};
use crate::fetch::{Arrival, FetchError, Fetcher, Follower, Head};
use crate::model::{Algorithm, Digest, EventSink, Expected, Key, RangeSpec, Record, Scheme, Sha256, Target};
use crate::policy::{Admitted, AdmittedTunnel, Class, Client, Policy, Refusal, Transfer, Use};
use crate::relay::Relay;
use upstream::Upstream;

/// What the request path works with.
pub struct Gateway {
    policy: Arc<Policy>,
    cache: Cache,
    fetcher: Fetcher,
    relay: Relay,
    events: EventSink,
    config: ArcSwap<Config>,
    upstream: Upstream,
}

/// What a look into the store finds.
enum Found {
    Hit(Hit),
    /// The bytes were here once. When they come back they must be the same, unless the target may change.
    Evicted {
        record: Arc<Record>,
        may_change: bool,
    },
    Nothing,
}

impl Gateway {
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        cache: Cache,
        fetcher: Fetcher,
        relay: Relay,
        events: EventSink,
        config: Config,
        max_upstream: usize,
    ) -> Self {
        Self {
            policy,
            cache,
            fetcher,
            relay,
            events,
            config: ArcSwap::from_pointee(config),
            upstream: Upstream::new(max_upstream),
        }
    }

    /// Puts another configuration in force for the requests to come.
    pub fn replace_config(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// Whether a client is served at all, and now. Every door asks this first.
    ///
    /// # Errors
    /// [`Problem::Refused`] or [`Problem::OverLimit`].
    pub fn admit_client(&self, client: IpAddr, what: Use) -> Result<Client, Problem> {
        let client = self.policy.admit_client(client)?;
        self.policy.count_request(client, what)?;
        Ok(client)
    }

    /// Counts what a client opens, for as long as the [`Transfer`] lives.
    ///
    /// # Errors
    /// [`Problem::OverLimit`].
    pub fn begin(&self, client: Client, what: Use) -> Result<Transfer, Problem> {
        Ok(self.policy.begin(client, what)?)
    }

    /// Answers a request for a target.
    pub async fn answer(&self, ask: Ask) -> Answer {
        self.try_answer(ask).await.unwrap_or_else(Answer::Problem)
    }

    async fn try_answer(&self, mut ask: Ask) -> Result<Answer, Problem> {
        let is_own = ask.has_credentials || matches!(ask.intent, Intent::Other(_));
        let target = ask.target.clone();
        let admitted = if is_own { self.policy.admit_by_itself(target)? } else { self.policy.admit(target)? };
        if let (Intent::Other(method), Scheme::Ftp) = (&ask.intent, admitted.target().scheme()) {
            return Err(Problem::Method(method.clone()));
        }
        let is_passed = is_own || admitted.class() == Class::Passed;
        stated::expect_stated(&admitted, &mut ask)?;
        let found = if is_passed { Found::Nothing } else { self.look_up(&admitted, &ask).await };
        if let Found::Hit(hit) = &found {
            self.refuse_unstated(&admitted, hit.record().sha256)?;
        }
        let evicted = match found {
            Found::Hit(Hit::OnDisk(hit)) => return self.answer_from_disk(&ask, hit, CacheStatus::Hit).await,
            Found::Hit(Hit::InBucket(hit)) => {
                match self.answer_from_bucket(&ask, &hit, CacheStatus::BucketHit).await? {
                    Some(answer) => return Ok(answer),
                    None => Some((hit.record, false)),
                }
            }
            Found::Evicted { record, may_change } => Some((record, may_change)),
            Found::Nothing => None,
        };
        // What is stated counts more than bytes that are gone.
        if let (Some((record, false)), None) = (&evicted, admitted.stated()) {
            refuse_other_sha256(&ask.expected, record.sha256)?;
            ask.expected.add(record.sha256.into());
        }
        if ask.only_if_cached {
            return Err(Problem::NotStored);
        }
        if is_passed {
            return self.pass(&admitted, ask).await;
        }
        match ask.intent {
            Intent::Head => self.pass(&admitted, ask).await,
            _ if evicted.is_none() && self.may_redirect(&ask, &admitted) => Ok(self.redirect(&admitted)),
            _ => self.follow(&admitted, ask).await,
        }
    }

    async fn look_up(&self, admitted: &Admitted, ask: &Ask) -> Found {
        let key = Key::of(admitted.target());
        let known = match self.cache.lookup(key).await {
            Ok(TargetLookup::Known(known)) => known,
            Ok(TargetLookup::NeverStored) => return Found::Nothing,
            Err(error) => {
                tracing::warn!(%error, "the cache could not be read; the request is a miss");
                return Found::Nothing;
            }
        };
        let stated = admitted.stated().map(|stated| Expected::from_iter([stated.into()]));
        let record = known.active_for(stated.as_ref().unwrap_or(&ask.expected));
        let opened = match self.cache.open_record(key, Arc::clone(record)).await {
            Ok(None) => self.cache.open_latest_variant(key, &known, &ask.expected).await,
            opened => opened,
        };
        match opened {
            Ok(Some(hit)) => return Found::Hit(hit),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "an object could not be opened; the request is a miss"),
        }
        Found::Evicted { record: Arc::clone(record), may_change: self.cache.allows_change(&known) }
    }

    /// A redirect is only for a client that is known to follow it and that loses nothing by it.
    fn may_redirect(&self, ask: &Ask, admitted: &Admitted) -> bool {
        let config = self.config.load();
        config.miss == Miss::Redirect
            && ask.door == Door::Rewrite
            && ask.intent == Intent::Get
            && ask.range.is_none()
            && ask.expected.is_empty()
            && config.follows_redirects(&ask.user_agent)
            // Few clients go on from http to ftp.
            && admitted.target().scheme() != Scheme::Ftp
            && !admitted.has_other_ways()
            && self.fetcher.knows_nothing_of(admitted.target())
    }

    /// Sends the client upstream, and fetches for those who come after it.
    fn redirect(&self, admitted: &Admitted) -> Answer {
        // The follower is dropped at once: the flight goes on without it. If there is no place for one, the next may have it.
        if let Err(error) = self.fetcher.follow(admitted, &Expected::nothing()) {
            tracing::debug!(target = %admitted.target(), %error, "a client was redirected without a fetch");
        }
        Answer::Redirect(admitted.target().clone())
    }

    /// Lets the client read along while the target is fetched.
    async fn follow(&self, admitted: &Admitted, ask: Ask) -> Result<Answer, Problem> {
        let place = self.begin_upstream()?;
        let mut follower = match self.fetcher.follow(admitted, &ask.expected) {
            Ok(follower) => follower,
            Err(error) => {
                drop(place);
                return self.answer_failure(admitted, ask, error).await;
            }
        };
        let status = CacheStatus::Miss { collapsed: follower.is_collapsed() };
        let record = match follower.arrival().await {
            Ok(Arrival::Flowing(head)) if can_read_along(&ask, &head) => {
                return Ok(answer_flow(&ask, follower, head, status, place));
            }
            Ok(Arrival::Landed(record)) => Ok(record),
            Ok(Arrival::Flowing(_)) => follower.landing().await,
            Err(error) => Err(error),
        };
        drop(place);
        match record {
            Ok(record) => self.answer_landed(admitted, ask, record, status).await,
            Err(error) => self.answer_failure(admitted, ask, error).await,
        }
    }

    /// Answers from what a flight has found or stored. If it is gone again, by an eviction or with the bucket, it passes
    /// through.
    async fn answer_landed(
        &self,
        admitted: &Admitted,
        mut ask: Ask,
        record: Arc<Record>,
        status: CacheStatus,
    ) -> Result<Answer, Problem> {
        let hit = self.cache.open_record(Key::of(admitted.target()), Arc::clone(&record)).await;
        match hit {
            Ok(Some(Hit::OnDisk(hit))) => return self.answer_from_disk(&ask, hit, status).await,
            Ok(Some(Hit::InBucket(hit))) => {
                if let Some(answer) = self.answer_from_bucket(&ask, &hit, status).await? {
                    return Ok(answer);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "an object that was just stored could not be opened"),
        }
        refuse_other_sha256(&ask.expected, record.sha256)?;
        ask.expected.add(record.sha256.into());
        self.pass(admitted, ask).await
    }

    /// What cannot be kept is passed through, and so is what only this client's digest makes safe; every other failure is
    /// told.
    async fn answer_failure(&self, admitted: &Admitted, ask: Ask, error: FetchError) -> Result<Answer, Problem> {
        match error {
            FetchError::NoSpace | FetchError::Unstorable => self.pass(admitted, ask).await,
            FetchError::Origin(OriginError::Refused(Refusal::Downgrade)) if ask.expected.is_trustworthy() => {
                self.pass(admitted, ask).await
            }
            error => Err(error.into()),
        }
    }

    /// Judges a `CONNECT`, given as the https target of its authority.
    ///
    /// # Errors
    /// [`Problem::Refused`].
    pub fn admit_tunnel(&self, target: Target) -> Result<AdmittedTunnel, Problem> {
        Ok(self.policy.admit_tunnel(target)?)
    }

    /// Opens an admitted tunnel.
    ///
    /// # Errors
    /// [`Problem::Origin`] where nobody answers there, [`Problem::Refused`] where its address is not allowed.
    pub async fn open_tunnel(&self, admitted: &AdmittedTunnel) -> Result<Tunnel, Problem> {
        self.relay.open_tunnel(admitted).await.map_err(|error| Problem::Origin(error.into()))
    }

    /// How the disk of the cache does: what a load balancer wants to know.
    #[must_use]
    pub fn readiness(&self) -> DiskHealth {
        self.cache.health()
    }

    /// What is wrong with the bucket, for the operator. Without it this instance goes on.
    #[must_use]
    pub fn bucket_trouble(&self) -> Option<String> {
        self.cache.bucket()?.trouble()
    }
}

/// Whether a client can be served while the body comes. One that needs the length, or whose protocol shows no end, waits
/// for it.
fn can_read_along(ask: &Ask, head: &Head) -> bool {
    // A part is whole before the body is: who expects a digest, or names ours, waits until the whole has been checked.
    let must_wait = ask.range.is_some() && !ask.expected.is_empty() || ask.conditions.if_match.is_some();
    !must_wait && (head.length.is_some() || (ask.range.is_none() && ask.version == HttpVersion::Http11))
}

/// The bytes on record are the only ones that this target means; who expects others need not wait for them.
fn refuse_other_sha256(expected: &Expected, sha256: Sha256) -> Result<(), Problem> {
    let is_other = |digest: &Digest| digest.algorithm() == Algorithm::Sha256 && *digest != sha256.into();
    if expected.iter().any(is_other) {
        return Err(Problem::Mismatch { expected: expected.clone(), found: sha256 });
    }
    Ok(())
}

fn answer_flow(
    ask: &Ask,
    follower: Follower,
    head: Arc<Head>,
    status: CacheStatus,
    place: OwnedSemaphorePermit,
) -> Answer {
    let representation = Representation::of_head(&head);
    let range: Option<RangeSpec> = ask.range.filter(|_| head.length.is_some());
    let selection = select::select(&ask.conditions, range, &representation);
    Answer::Content(Box::new(Content {
        representation,
        selection,
        source: Source::Flight { follower, head, place },
        status,
    }))
}
