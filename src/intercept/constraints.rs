//! The name constraints of a certificate (RFC 5280, section 4.2.1.10).
//!
//! The main type is [`PermittedHosts`].

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, GeneralSubtree};

/// Sizes of the subtree of all addresses: an address and a mask of zeros, in bytes.
const ALL_ADDRESSES_BYTES: [usize; 2] = [8, 32];

/// Names of hosts that a certificate authority may sign. A name includes its subdomains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermittedHosts {
    permitted: Vec<String>,
    excluded: Vec<String>,
}

impl PermittedHosts {
    /// Reads the constraints. Returns `None` unless they are critical, permit named hosts only, and
    /// exclude all addresses.
    pub fn read(certificate: &X509Certificate<'_>) -> Option<Self> {
        let constraints = certificate.name_constraints().ok()??;
        let excluded = constraints.value.excluded_subtrees.as_deref();
        let excluded = excluded.unwrap_or_default();
        let permitted = host_names(constraints.value.permitted_subtrees.as_deref()?);
        let is_all = |name: &String| name.trim_matches('.').is_empty();
        let are_named = !permitted.is_empty() && !permitted.iter().any(is_all);
        let has_no_address = ALL_ADDRESSES_BYTES
            .iter()
            .all(|size_bytes| excludes_addresses(excluded, *size_bytes));
        (constraints.critical && are_named && has_no_address).then(|| Self {
            excluded: host_names(excluded),
            permitted,
        })
    }

    pub fn permitted(&self) -> &[String] {
        &self.permitted
    }

    /// Whether clients accept a certificate for a host.
    pub fn covers(&self, host: &str) -> bool {
        let contains = |name: &String| is_in_subtree(host, name);
        self.permitted.iter().any(contains) && !self.excluded.iter().any(contains)
    }
}

/// Whether a host is a name, or one of its subdomains. A leading dot means subdomains only.
fn is_in_subtree(host: &str, name: &str) -> bool {
    host == name
        || host
            .strip_suffix(name)
            .is_some_and(|rest| rest.ends_with('.') || name.starts_with('.'))
}

fn host_names(subtrees: &[GeneralSubtree<'_>]) -> Vec<String> {
    let names = subtrees.iter().filter_map(|subtree| match subtree.base {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

fn excludes_addresses(excluded: &[GeneralSubtree<'_>], size_bytes: usize) -> bool {
    excluded.iter().any(|subtree| match subtree.base {
        GeneralName::IPAddress(range) => {
            range.len() == size_bytes && range.iter().all(|byte| *byte == 0)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraint_includes_subdomains() {
        for (host, name, is_in) in [
            ("files.example.org", "files.example.org", true),
            ("a.files.example.org", "files.example.org", true),
            ("files.example.org", "example.org", true),
            ("myfiles.example.org", "files.example.org", false),
            ("example.org", "files.example.org", false),
            ("a.example.org", ".example.org", true),
            ("example.org", ".example.org", false),
        ] {
            assert_eq!(is_in_subtree(host, name), is_in, "{host} in {name}");
        }
    }
}
