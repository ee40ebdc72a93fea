//! `millpond adopt` for container images: a layout of OCI, or an archive of `docker save`.
//!
//! The main function is [`adopt_images`].

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::printer::AdoptPrinter;
use crate::adopt::{
    AdoptOptions, AdoptServices, FileReport, ImageAdopter, ImageFiles, ImageNaming, ImageRoot,
    ImageRootError, find_roots,
};
use crate::cli::client::failure::Failure;
use crate::config::Config;
use crate::model::Target;
use crate::registry::{AdoptedTag, TagStore};

/// Options that name images.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// Store the container image of a layout or archive under this name; without a tag, the tags in
    /// the files are used
    #[arg(
        long,
        value_name = "HOST/NAME[:TAG]",
        conflicts_with = "image_registry"
    )]
    image: Option<String>,
    /// Store the container images of a layout or archive under this registry of the configuration,
    /// with the names in the files
    #[arg(long, value_name = "HOST")]
    image_registry: Option<String>,
}

impl ImageArgs {
    /// Returns whether an image is meant.
    pub fn is_used(&self) -> bool {
        self.image.is_some() || self.image_registry.is_some()
    }
}

/// Adopts the images of a layout or an archive, and prints the results.
///
/// # Errors
/// [`Failure`] if it cannot be read, or an image has no valid name.
pub async fn adopt_images(
    path: &Path,
    arguments: &ImageArgs,
    config: &Config,
    (services, options): (AdoptServices, AdoptOptions),
    mut printer: AdoptPrinter,
) -> Result<ExitCode, Failure> {
    let table = config.registry_table();
    let table = table.map_err(|error| Failure::usage(error.to_string()))?;
    let naming = ImageNaming {
        image: arguments.image.clone(),
        registry: arguments.image_registry.clone(),
    };
    let (read_bytes, stop) = (Arc::clone(&services.read_bytes), Arc::clone(&services.stop));
    let opened = path.to_owned();
    let read = spawn_blocking(move || -> Result<_, ImageRootError> {
        let files = ImageFiles::open(&opened)?;
        let roots = find_roots(&files, &naming, &table, (&read_bytes, &stop))?;
        Ok((files, roots))
    });
    let read = read
        .await
        .map_err(|panic| Failure::failed(panic.to_string()))?;
    let (files, roots) = read.map_err(|error| failure_of(path, &error))?;
    let adopter = ImageAdopter {
        services,
        options,
        files,
        tags: TagStore::new(&config.gateway.state_dir),
    };
    let mut done = HashMap::new();
    for root in &roots {
        adopt_one(&adopter, root, &mut done, &mut printer).await;
    }
    let indexes = adopter.services.cache.own_files().complete_indexes().await;
    if let Err(error) = indexes {
        printer.show_problem(&format_args!("the index may lack files: {error}"));
    }
    Ok(printer.finish())
}

/// Adopts one image, and prints the results for its parts and its tag.
async fn adopt_one(
    adopter: &ImageAdopter,
    root: &ImageRoot,
    done: &mut HashMap<Target, bool>,
    printer: &mut AdoptPrinter,
) {
    let name = root.name.text();
    let mut show = |report: &FileReport| printer.show(report);
    let stored = adopter.adopt(root, done, &mut show).await;
    match stored {
        Ok(Some(AdoptedTag::New)) => printer.show_image(&name, &root.digest.to_string()),
        Ok(Some(AdoptedTag::Other(known))) => printer.show_problem(&format_args!(
            "{name}: the tag is known with the digest {known}, and stays so"
        )),
        Ok(None) => printer.show_problem(&format_args!("{name}: the image is not complete")),
        Err(error) => printer.show_problem(&format_args!("{name}: {error}")),
    }
}

fn failure_of(path: &Path, error: &ImageRootError) -> Failure {
    let text = format!("{}: {error}", path.display());
    match error {
        ImageRootError::NoName | ImageRootError::SeveralImages | ImageRootError::Name(..) => {
            Failure::usage(text)
        }
        _ => Failure::failed(text),
    }
}
