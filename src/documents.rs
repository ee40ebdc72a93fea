//! Files of the documentation, which are part of the binary and served at `/ui/docs/`.
//!
//! A test asks for each page of the folders.

use millpond::ui::DocumentFile;

macro_rules! documents {
    ($($path:literal,)*) => {
        &[$(DocumentFile {
            path: $path,
            text: include_str!(concat!("../", $path)),
        },)*]
    };
}

/// Pages, and the files that pages link to.
pub static FILES: &[DocumentFile] = documents![
    "docs/README.md",
    "docs/SUMMARY.md",
    "docs/concepts/caching.md",
    "docs/concepts/integrity.md",
    "docs/concepts/limits.md",
    "docs/concepts/overload-and-failures.md",
    "docs/concepts/security.md",
    "docs/concepts/sources.md",
    "docs/development/decisions.md",
    "docs/development/performance.md",
    "docs/development/scale.md",
    "docs/development/style.md",
    "docs/development/testing.md",
    "docs/development/walkthroughs.md",
    "docs/guides/access.md",
    "docs/guides/adopt.md",
    "docs/guides/build-farms.md",
    "docs/guides/clients.md",
    "docs/guides/cluster.md",
    "docs/guides/container-images.md",
    "docs/guides/deploy.md",
    "docs/guides/dns-geography.md",
    "docs/guides/ftp.md",
    "docs/guides/high-availability.md",
    "docs/guides/images-containerd.md",
    "docs/guides/images-docker.md",
    "docs/guides/images-podman.md",
    "docs/guides/images-skopeo.md",
    "docs/guides/install.md",
    "docs/guides/intercept.md",
    "docs/guides/mirrors.md",
    "docs/guides/object-storage.md",
    "docs/guides/packagers.md",
    "docs/guides/packages.md",
    "docs/guides/pieces.md",
    "docs/guides/spec-tree.md",
    "docs/guides/specs.md",
    "docs/images/overview.svg",
    "docs/limitations.md",
    "docs/operations/backup.md",
    "docs/operations/monitoring.md",
    "docs/operations/page.md",
    "docs/operations/upgrade.md",
    "docs/reference/alerts.md",
    "docs/reference/api.md",
    "docs/reference/cli.md",
    "docs/reference/configuration.md",
    "docs/reference/formats.md",
    "docs/reference/http.md",
    "docs/reference/log.md",
    "docs/reference/metrics.md",
    "docs/reference/stability.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "benches/RESULTS.md",
    "config/alerts.yml",
    "config/compose.toml",
    "config/millpond.toml",
    "config/rules.toml",
    "nginx/client_certificates.conf",
    "nginx/firewall.nft",
    "nginx/nginx.conf",
    "nginx/tls.conf",
];
