//! Registries whose indexes are rewritten.

/// A registry whose index is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageRegistry {
    Pypi,
    Npm,
    Cargo,
}
