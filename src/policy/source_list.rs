//! Sources of a target: origin, mirrors, parents and archives, and the targets of redirects.

use super::parents::CompiledParent;
use super::rules::Rules;
use super::{Admitted, Policy, PolicyDenied, RequestOptions};
use crate::model::{Scheme, Target};

/// Kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// The target itself.
    Origin,
    Mirror,
    /// Another Millpond gateway, which only serves stored objects.
    Parent,
    /// Location of files that were removed from their original location.
    Archive,
    /// A node of the cluster, which fetches the target for all nodes.
    Peer,
}

/// Source that a target may be fetched from. Only the policy module creates one.
#[derive(Debug, Clone)]
pub struct Source {
    kind: SourceKind,
    admitted: Admitted,
}

impl Source {
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// Returns the target to fetch from this source.
    #[must_use]
    pub fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    #[must_use]
    pub fn target(&self) -> &Target {
        self.admitted.target()
    }
}

impl Policy {
    /// Checks the target of a redirect.
    ///
    /// The client's target was checked before, so only scheme, port, address and `deny_hosts`
    /// apply.
    ///
    /// # Errors
    /// The first rule that denies the target; [`PolicyDenied::Downgrade`] unless `digest_expected`.
    pub fn admit_hop(
        &self,
        from: &Admitted,
        to: Target,
        digest_expected: bool,
    ) -> Result<Admitted, PolicyDenied> {
        let rules = self.rules.load();
        let to = rules.upgrade(&to).unwrap_or(to);
        if from.target.scheme() == Scheme::Https && to.scheme() != Scheme::Https && !digest_expected
        {
            return Err(PolicyDenied::Downgrade);
        }
        rules.check_hop(&to)?;
        // If the authority changes, credentials are dropped, even those of the new host. A redirect
        // must not make Millpond use them.
        let mut options = rules.effective(&to).into_request_options();
        if !to.has_same_authority(&from.target) {
            options = options.without_credentials();
        }
        Ok(Admitted {
            target: to,
            request_options: options.or_egress(from.own_egress.as_deref()),
            ..from.clone()
        })
    }

    /// Admits a URL at a node of the cluster, which the operator has listed. Its port and its
    /// address may be any.
    #[must_use]
    pub fn admit_peer(&self, at_peer: Target) -> Admitted {
        let (admitted, _) = self.admit_checked(&self.rules.load(), at_peer);
        Admitted {
            request_options: RequestOptions::for_peer(),
            ..admitted
        }
    }

    /// Returns a node of the cluster as a source of a target. `None` if the URL is too long.
    #[must_use]
    pub fn peer_source(&self, admitted: &Admitted, peer: &Target) -> Option<Source> {
        let base = peer.as_str().trim_end_matches('/');
        let at_peer = Target::parse(&format!("{base}/{}", admitted.target().as_str()));
        Some(Source {
            kind: SourceKind::Peer,
            admitted: Admitted {
                target: at_peer.ok()?,
                request_options: RequestOptions::for_peer(),
                ..admitted.clone()
            },
        })
    }

    /// Returns the sources of a target in the order in which they are tried: parents at the site of
    /// this node, the origin, mirrors, other parents, archives.
    ///
    /// Policy checks each source. Denied sources are left out.
    #[must_use]
    pub fn sources(&self, admitted: &Admitted, digest_expected: bool) -> Vec<Source> {
        let (rules, target) = (self.rules.load(), admitted.target());
        let mut list = SourceList::new(admitted);
        let alternates = rules.effective(target).alternate_sources();
        let options_for = |target: &Target| rules.effective(target).into_request_options();
        // A mirror or an archive is checked like the target of a redirect.
        let check_redirect = |to: &Target| {
            self.admit_hop(admitted, to.clone(), digest_expected)
                .map(drop)
        };
        for mirror in alternates
            .into_iter()
            .flat_map(|rule| rule.mirrors_of(target))
        {
            let (allowed, options) = (check_redirect(&mirror), options_for(&mirror));
            list.add(SourceKind::Mirror, mirror, allowed, options);
        }
        let (near, other): (Vec<_>, Vec<_>) =
            rules.parents().iter().partition(|parent| parent.is_near());
        add_parents(&mut list, &rules, &other, digest_expected);
        for archive in alternates
            .into_iter()
            .flat_map(|rule| rule.archives_of(target))
        {
            let (allowed, options) = (check_redirect(&archive), options_for(&archive));
            list.add(SourceKind::Archive, archive, allowed, options);
        }
        let mut first = SourceList::empty(admitted);
        add_parents(&mut first, &rules, &near, digest_expected);
        first.sources.extend(list.sources);
        first.sources
    }
}

/// Adds the parents that may be asked for a target.
fn add_parents(
    list: &mut SourceList<'_>,
    rules: &Rules,
    parents: &[&CompiledParent],
    digest_expected: bool,
) {
    let target = list.origin.target();
    for parent in parents {
        let Some(at_parent) = parent.target_of(target) else {
            continue;
        };
        if !parent.may_be_asked(digest_expected) {
            tracing::debug!(%target, "parent skipped: http, not trusted, no digest on record");
            continue;
        }
        // The operator chose scheme and port. Denied hosts and addresses still apply.
        let allowed = rules
            .check_denied_host(at_parent.host())
            .and_then(|()| rules.check_address_of(&at_parent));
        let options = RequestOptions {
            credentials: parent.credentials.clone(),
            ..rules.effective(&at_parent).into_request_options()
        };
        list.add(SourceKind::Parent, at_parent, allowed, options);
    }
}

/// List of distinct sources of one target.
struct SourceList<'a> {
    origin: &'a Admitted,
    sources: Vec<Source>,
}

impl<'a> SourceList<'a> {
    fn empty(origin: &'a Admitted) -> Self {
        Self {
            origin,
            sources: Vec::new(),
        }
    }

    fn new(origin: &'a Admitted) -> Self {
        let source = Source {
            kind: SourceKind::Origin,
            admitted: origin.clone(),
        };
        Self {
            sources: vec![source],
            ..Self::empty(origin)
        }
    }

    /// Adds a source, unless policy denies it or the list contains it already.
    fn add(
        &mut self,
        kind: SourceKind,
        target: Target,
        allowed: Result<(), PolicyDenied>,
        request_options: RequestOptions,
    ) {
        if self.sources.iter().any(|source| *source.target() == target) {
            return;
        }
        if let Err(denied) = allowed {
            tracing::debug!(%target, %denied, "source skipped: denied by policy");
            return;
        }
        self.sources.push(Source {
            kind,
            admitted: Admitted {
                target,
                request_options,
                ..self.origin.clone()
            },
        });
    }
}
