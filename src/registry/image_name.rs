//! Names of images with their registry: `docker://host/name:tag`. The main type is [`ImageName`].

use std::fmt;
use std::str::FromStr;

use super::error::RegistryError;
use super::reference::{ImageReference, ImageTag, parse_digest};
use super::repository::RepositoryName;
use super::table::is_registry_name;
use crate::model::IMAGE_SCHEME;

/// Tag of a name without one.
const DEFAULT_TAG: &str = "latest";

/// Name of an image, as container clients write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// Name of the registry in the configuration, or one of its aliases.
    pub registry: String,
    /// Name of the repository. The configuration decides whether it belongs to `library/`.
    pub repository: RepositoryName,
    pub reference: ImageReference,
}

/// Error returned for a text that is no name of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageNameError {
    #[error(
        "an image is named with its registry: docker://HOST/NAME:TAG, or \
         docker://HOST/NAME@sha256:HEX"
    )]
    Form,
    #[error(transparent)]
    Part(#[from] RegistryError),
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        let text = text
            .strip_prefix(IMAGE_SCHEME)
            .ok_or(ImageNameError::Form)?;
        let (registry, rest) = text.split_once('/').ok_or(ImageNameError::Form)?;
        if !is_registry_name(registry) {
            return Err(ImageNameError::Form);
        }
        let (named, digest) = match rest.split_once('@') {
            Some((named, digest)) => (named, Some(parse_digest(digest)?)),
            None => (rest, None),
        };
        let (name, tag) = match named.rsplit_once(':') {
            Some((name, tag)) => (name, ImageTag::parse(tag)?),
            None => (named, ImageTag::parse(DEFAULT_TAG)?),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository: RepositoryName::parse(name)?,
            // As for container clients, a digest decides, whatever the tag.
            reference: digest.map_or(ImageReference::Tag(tag), ImageReference::Digest),
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.reference {
            ImageReference::Tag(_) => ':',
            ImageReference::Digest(_) => '@',
        };
        let (registry, repository) = (&self.registry, &self.repository);
        write!(
            f,
            "{IMAGE_SCHEME}{registry}/{repository}{separator}{}",
            self.reference
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_have_registries() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, name) in [
            (
                "docker://registry.example.org/a:1",
                "docker://registry.example.org/a:1",
            ),
            ("docker://reg/mill/app", "docker://reg/mill/app:latest"),
            (
                "docker://127.0.0.1:5000/a/b:x",
                "docker://127.0.0.1:5000/a/b:x",
            ),
            (
                &format!("docker://reg/a@{digest}"),
                &format!("docker://reg/a@{digest}"),
            ),
            (
                &format!("docker://reg/a:1@{digest}"),
                &format!("docker://reg/a@{digest}"),
            ),
        ] {
            let parsed: ImageName = text.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
        }
        for wrong in [
            "docker://app:1",
            "docker:///app:1",
            "docker://reg/",
            "docker://reg/App:1",
            "docker://reg/a/../b:1",
            "docker://reg/a:.x",
            "docker://reg/a:",
            "docker://reg/a@md5:abc",
            "docker://reg/a@sha256:AB",
            "docker://user:word@reg/a:1",
            "docker://reg/a:1?x=y",
            "https://reg/a:1",
        ] {
            assert!(wrong.parse::<ImageName>().is_err(), "{wrong}");
        }
    }
}
