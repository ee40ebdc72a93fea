//! The nodes that may own one key, in order, and what follows from nodes that drain.
//!
//! A node that drains owns nothing. It is asked for what it has, by those that it owned before. The
//! main type is [`OwnerOrder`].

use crate::model::Target;

/// Node that may own a key.
#[derive(Debug)]
pub struct OwnerCandidate {
    /// Base URL. `None` for this node.
    pub url: Option<Target>,
    pub name: String,
    pub is_draining: bool,
}

/// This node and its peers, in the order in which they own a key if no node drains.
#[derive(Debug)]
pub struct OwnerOrder(pub Vec<OwnerCandidate>);

impl OwnerOrder {
    /// Returns the names of this node and the peers that do not drain, the owner first.
    pub fn names(self) -> Vec<String> {
        let mut nodes = self.0;
        nodes.retain(|node| node.url.is_none() || !node.is_draining);
        // If this node drains, it owns what no other node does.
        nodes.sort_by_key(|node| node.is_draining);
        nodes.into_iter().map(|node| node.name).collect()
    }

    /// Returns the URLs of the peers that drain and come before the owner, and then those of the
    /// owners before this node.
    pub fn before_self(self) -> Vec<Target> {
        let (mut former, mut owners) = (Vec::new(), Vec::new());
        for node in self.0 {
            match node.url {
                None if node.is_draining => {}
                None => break,
                Some(url) if !node.is_draining => owners.push(url),
                Some(url) if owners.is_empty() => former.push(url),
                Some(_) => {}
            }
        }
        former.append(&mut owners);
        former
    }

    /// Returns the URLs of the peers that do not drain.
    pub fn others(self) -> Vec<Target> {
        let nodes = self.0.into_iter().filter(|node| !node.is_draining);
        nodes.filter_map(|node| node.url).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an order of names. A plus sign means that the node drains, and `own` is this node.
    fn order(names: &[&str]) -> OwnerOrder {
        let node = |name: &&str| {
            let plain = name.trim_start_matches('+');
            OwnerCandidate {
                url: Target::parse(&format!("http://{plain}:80"))
                    .ok()
                    .filter(|_| plain != "own"),
                name: plain.to_owned(),
                is_draining: name.starts_with('+'),
            }
        };
        OwnerOrder(names.iter().map(node).collect())
    }

    fn hosts(urls: &[Target]) -> Vec<&str> {
        urls.iter().map(Target::host).collect()
    }

    #[test]
    fn draining_nodes_own_nothing_and_are_asked_first() {
        for (names, before_self, owners) in [
            (&["a", "own", "b"][..], &["a"][..], &["a", "own", "b"][..]),
            (&["+a", "own", "b"], &["a"], &["own", "b"]),
            (&["+a", "b", "own"], &["a", "b"], &["b", "own"]),
            (&["a", "+b", "own"], &["a"], &["a", "own"]),
            (&["own", "+a", "b"], &[], &["own", "b"]),
            (&["+own", "a", "b"], &["a", "b"], &["a", "b", "own"]),
            (&["a", "+own", "b"], &["a", "b"], &["a", "b", "own"]),
            (&["+a", "+own"], &["a"], &["own"]),
        ] {
            assert_eq!(hosts(&order(names).before_self()), before_self, "{names:?}");
            assert_eq!(order(names).names(), owners, "{names:?}");
        }
        assert_eq!(hosts(&order(&["+a", "own", "b", "c"]).others()), ["b", "c"]);
    }
}
