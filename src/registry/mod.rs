//! Container registries below `/v2/`: names of registries and repositories, tokens, and the targets
//! of manifests and blobs (OCI distribution specification).
//!
//! A client names a registry of the configuration, and never a host. Content has its digest in its
//! target, so the gateway fetches, checks and serves it like any other file. This module must not
//! know the HTTP server. Its main types are [`RegistryTable`], [`RegistryPath`] and
//! [`ContainerImages`].

mod access_attempts;
mod challenge;
mod config;
mod credential;
mod ensure_image;
mod error;
mod image_list;
mod image_name;
mod images;
mod login_schemes;
mod manifest;
mod path;
mod platform;
mod rate_limits;
mod reference;
mod referrer_store;
mod referrers;
mod repository;
mod repository_patterns;
mod source;
mod state_files;
mod stored_image;
mod table;
mod tag_age;
mod tag_pauses;
mod tag_store;
mod tags;
#[cfg(test)]
mod tests;
mod token_renewal;
mod tokens;

pub use challenge::{LoginScheme, TokenService};
pub use config::{Config, DeletedTag, RegistryConfig};
pub use credential::{CredentialConfig, RegistryCredential, RegistryLogin};
pub use ensure_image::{
    EnsureImageError, EnsuredImage, ImageFault, ImageParts, StoredPart, ensure_image,
};
pub use error::{RegistryError, RegistryErrorCode};
pub use image_list::{ListedImage, ListedPlatform};
pub use image_name::{ImageName, ImageNameError};
pub use images::{ContainerImages, ImageContent};
pub use manifest::{Descriptor, ImageManifest, MAX_MANIFEST_BYTES, ManifestError, ManifestParts};
pub use path::{RegistryPath, RegistryResource};
pub use platform::{InvalidPlatform, Platform};
pub use rate_limits::{RateLimit, RateLimits};
pub use reference::{ImageReference, ImageTag, parse_digest};
pub use referrers::{INDEX_TYPE, ReferrerList};
pub use repository::RepositoryName;
pub use repository_patterns::RepositoryPatterns;
pub use source::{ImageReader, ImageSource};
pub use stored_image::ImagePreheater;
pub use table::{ContainerRegistry, NamedPart, RegistryTable};
pub use tag_store::{AdoptedTag, TagStore};
